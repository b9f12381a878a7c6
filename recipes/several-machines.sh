#!/usr/bin/env bash
# Qwen3-8B learns from rewards on two machines of 8 GPUs of 80 GB: every GPU draws and learns. Start it on each machine,
# with HEAD the name of the first one; OUT and MODEL must lie where both see them.
# What it needs: thinkling plan Qwen3-8B --gpus 16 --recompute --max-tokens 2048 --prompts-per-step 128
set -euo pipefail
HEAD="${HEAD:-localhost}"
MACHINES="${MACHINES:-2}"
MODEL="${MODEL:-Qwen/Qwen3-8B}"
OUT="${OUT:-runs/several-machines}"

torchrun --nnodes "$MACHINES" --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "$HEAD:29500" \
    --rdzv-id grpo-run -m thinkling grpo --model "$MODEL" --out "$OUT" --tasks gym:gsm_symbolic --template boxed \
    --steps 200 --prompts-per-step 128 --rollouts-per-prompt 8 --max-tokens 2048 --max-length 4096 \
    --cache-gb 16 --lr 1e-6 --preset dapo --recompute
