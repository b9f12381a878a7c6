#!/usr/bin/env bash
# Qwen3-0.6B learns from rewards on one GPU of 80 GB, which draws and learns by turns.
# What it needs: thinkling plan Qwen3-0.6B --recompute --max-tokens 1024 --prompts-per-step 32
set -euo pipefail
MODEL="${MODEL:-Qwen/Qwen3-0.6B}"
OUT="${OUT:-runs/one-gpu}"

thinkling grpo --model "$MODEL" --out "$OUT" --tasks gym:gsm_symbolic --template boxed \
    --steps 200 --prompts-per-step 32 --rollouts-per-prompt 8 --max-tokens 1024 --max-length 1536 \
    --cache-gb 20 --lr 1e-6 --preset dapo --recompute
thinkling eval --model "$OUT" --out "$OUT-eval" --tasks gym:gsm_symbolic --template boxed --num-problems 200 \
    --max-tokens 1024 --max-length 1536
