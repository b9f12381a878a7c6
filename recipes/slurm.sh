#!/usr/bin/env bash
#SBATCH --job-name=thinkling
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
# several-machines.sh under Slurm: sbatch recipes/slurm.sh. A job that is cut off goes on from its last checkpoint, for
# the same command resumes. What it needs: see several-machines.sh.
set -euo pipefail
export HEAD="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MACHINES="$SLURM_JOB_NUM_NODES"
srun bash recipes/several-machines.sh
