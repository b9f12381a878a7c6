#!/usr/bin/env bash
# A real model trained on one GPU: bash bench/gpu_smollm2.sh OUT MODEL.gguf GSM8K_TRAIN.jsonl GSM8K_TEST.jsonl
# SmolLM2-135M-Instruct on GSM8K: asked, taught worked solutions (sft), asked, trained by rewards (grpo), asked. Needs no
# network; about 9 minutes on an H100. Works in $WORK (default build/gpu-smollm2); the same command goes on where it
# stopped. OUT gets a table, each measurement, the metrics of both trainings and a log.
# Smaller, to try it: PROBLEMS=4 MAX_TOKENS=32 SFT_MINUTES=0.1 GRPO_MINUTES=0.1 BATCH=2 PROMPTS=1 CACHE_GB=1
# GRPO_MORE=--no-preflight
set -eu -o pipefail
out=$1 model=$2 train=$3 test=$4
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$here:${PYTHONPATH:-}" TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
work=${WORK:-$here/build/gpu-smollm2}
mkdir -p "$out" "$work"
exec > >(tee -a "$out"/log.txt) 2>&1
common=(--template plain --max-tokens "${MAX_TOKENS:-300}" --max-rows 256 --cache-gb "${CACHE_GB:-8}")

measure() {  # NAME MODEL
    [ -f "$work/$1"/report.json ] || python3 -m thinkling eval --model "$2" --tasks "$test" --temperature 0 \
        --num-problems "${PROBLEMS:-300}" "${common[@]}" --out "$work/$1"
    cp "$work/$1"/report.json "$out/$1".json
}

taught() {  # GSM8K's solutions as the model is to write them: no calculator's marks, the answer in a box
    python3 - "$train" > "$work"/.train <<'PYTHON'
import json, re, sys
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    steps, answer = re.sub("<<.*?>>", "", row["answer"]).split("\n#### ")
    print(json.dumps({"question": row["question"], "response": f"{steps}\n\\boxed{{{answer}}}", "reference": answer}))
PYTHON
    mv "$work"/.train "$work"/train.jsonl
}

date
measure before "$model"
[ -f "$work"/train.jsonl ] || taught
[ -f "$work"/sft/finished.json ] || python3 -m thinkling sft --model "$model" --data "$work"/train.jsonl \
    --template plain --minutes "${SFT_MINUTES:-2.2}" --epochs 100 --batch-size "${BATCH:-64}" --lr 2e-4 \
    --warmup-steps 20 --micro-batch-tokens 16384 --eval-every 0 --save-every 0 --out "$work"/sft ${SFT_MORE:-}
cp "$work"/sft/metrics.jsonl "$out"/sft.jsonl
measure after-sft "$work"/sft
[ -f "$work"/grpo/finished.json ] || python3 -m thinkling grpo --model "$work"/sft --tasks "$work"/train.jsonl \
    "${common[@]}" --minutes "${GRPO_MINUTES:-3}" --steps 10000 --prompts-per-step "${PROMPTS:-32}" \
    --rollouts-per-prompt 8 --lr 2e-5 --micro-batch-tokens 16384 --eval-every 0 --save-every 0 \
    --out "$work"/grpo ${GRPO_MORE:-}
cp "$work"/grpo/metrics.jsonl "$out"/grpo.jsonl
measure after-grpo "$work"/grpo
python3 -m thinkling compare "$work"/{before,after-sft,after-grpo} --show 0 | tee "$out"/compare.txt
python3 -m thinkling env
date
