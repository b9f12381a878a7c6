#!/usr/bin/env bash
# Qwen3-8B learns from rewards on one machine of 8 GPUs of 80 GB: two draw (vLLM), six learn (FSDP2).
# What it needs: thinkling plan Qwen3-8B --gpus 8 --servers 2 --recompute --max-tokens 2048 --prompts-per-step 64
# vLLM lives in an environment of its own; its flags are vLLM's. Weights go to it by the folder OUT/pushed.
set -euo pipefail
MODEL="${MODEL:-Qwen/Qwen3-8B}"
OUT="${OUT:-runs/eight-gpus}"
VLLM="${VLLM:-.venv-vllm/bin/vllm}"

for gpu in 6 7; do
    VLLM_SERVER_DEV_MODE=1 CUDA_VISIBLE_DEVICES=$gpu "$VLLM" serve "$MODEL" --port "810$gpu" --dtype bfloat16 \
        --max-model-len 4096 &
done
trap 'kill $(jobs -p)' EXIT
for gpu in 6 7; do
    until curl -sf "http://127.0.0.1:810$gpu/health"; do sleep 5; done
done

CUDA_VISIBLE_DEVICES=0,1,2,3,4,5 torchrun --nproc-per-node 6 -m thinkling grpo --model "$MODEL" --out "$OUT" \
    --rollouts http://127.0.0.1:8106,http://127.0.0.1:8107 --tasks gym:gsm_symbolic --template boxed \
    --steps 200 --prompts-per-step 64 --rollouts-per-prompt 8 --max-tokens 2048 --max-length 4096 \
    --cache-gb 4 --lr 1e-6 --preset dapo --recompute
