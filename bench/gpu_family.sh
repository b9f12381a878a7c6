#!/usr/bin/env bash
# Three trainings on one GPU: bash bench/gpu_family.sh OUT MODEL.gguf GSM8K_TRAIN.jsonl GSM8K_TEST.jsonl
#   smollm2   SmolLM2-135M on GSM8K: gpu_smollm2.sh, with its variables
#   nano      thinkling-nano from nothing, for NANO_MINUTES (6.5)
#   teacher   thinkling-teacher, from thinkling-base with three more layers, for TEACHER_MINUTES (7)
# One that fails does not stop the others. They work in $WORK (default build/family); the same command resumes them. OUT
# gets, anew every PACK_SECONDS (20): nano.tar and teacher.tar, the newest checkpoint of each without the optimizer's
# state; smollm2.tar.gz; logs.tar.gz, metrics and logs of all. Needs no network.
# Smaller, to try it on a CPU: NANO_MINUTES=0.5 NANO_MORE="--rows 4 --length 512 --workers 1 --save-every 5
# --no-compile", the same for TEACHER, ONLY="nano teacher", and gpu_smollm2.sh's own.
set -u
out=$1 model=$2 train=$3 test=$4
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$here:${PYTHONPATH:-}" OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
export TORCHDYNAMO_SUPPRESS_ERRORS=1  # what cannot be compiled runs as it is
ulimit -n 65536 2>/dev/null || true  # each batch on its way takes two
work=${WORK:-$here/build/family}
only=${ONLY:-smollm2 teacher nano}
mkdir -p "$out" "$work"/{logs,smollm2,asked}

smollm2() { WORK=$work/smollm2 bash "$here"/bench/gpu_smollm2.sh "$work"/asked "$model" "$train" "$test"; }

teacher() {  # lower rates than from nothing: most of it has learnt already; falling for most of the time
    # shellcheck disable=SC2086
    python3 -m thinkling pretrain --out "$work"/teacher --start-from thinkling-base --size thinkling-teacher --seed 11 \
        --corpus longer-quantities --minutes "${TEACHER_MINUTES:-7}" --rows 96 --length 768 --workers 6 \
        --muon-lr 0.01 --lr 1.5e-3 --warmup-steps 50 --decay-share 0.8 --save-every 100 ${TEACHER_MORE:-}
}

nano() {  # so small a network learns one thing well or many badly: worked solutions of 2 to 7 steps for the most part
    # shellcheck disable=SC2086
    python3 -m thinkling pretrain --out "$work"/nano --size thinkling-nano --seed 12 \
        --tokenizer "$here"/thinkling/model/builtin/thinkling-base/tokenizer.json \
        --corpus worked-quantities --minutes "${NANO_MINUTES:-6.5}" --rows 104 --length 768 --workers 7 \
        --muon-lr 0.02 --lr 3e-3 --warmup-steps 100 --decay-share 0.5 --save-every 400 ${NANO_MORE:-}
}

put() { mv "$work/$1.part" "$out/.part" && mv "$out/.part" "$out/$1"; }  # whole or absent

pack() {  # what there is so far
    for name in nano teacher; do
        newest=$(ls -d "$work/$name"/checkpoints/step-* 2>/dev/null | tail -1)
        [ -n "$newest" ] && tar -C "$(dirname "$newest")" --exclude training -cf "$work/$name.tar.part" \
            "$(basename "$newest")" && put "$name".tar
        mkdir -p "$work/logs/$name" && cp "$work/$name"/{metrics.jsonl,config.json} "$work/logs/$name"/
    done
    tar -C "$work" -czf "$work"/logs.tar.gz.part logs && put logs.tar.gz
    for name in before after-sft after-grpo; do
        [ -f "$work/smollm2/$name"/report.json ] && cp -r "$work/smollm2/$name" "$work"/asked/full-"$name".new &&
            rm -rf "$work"/asked/full-"$name" && mv "$work"/asked/full-"$name"{.new,}
    done
    cp "$work"/smollm2/sft/metrics.jsonl "$work"/asked/sft-so-far.jsonl
    cp "$work"/smollm2/grpo/metrics.jsonl "$work"/asked/grpo-so-far.jsonl
    tar -C "$work" -czf "$work"/smollm2.tar.gz.part asked && put smollm2.tar.gz
}

started=()
for name in $only; do
    { "$name"; echo "$name ended with $? after $SECONDS s" | tee -a "$work"/logs/ended.txt; } \
        > "$work/logs/$name".log 2>&1 < /dev/null &
    started+=($!)
done
(while sleep "${PACK_SECONDS:-20}"; do pack; done) >/dev/null 2>&1 &
packer=$!
trap 'kill $packer 2>/dev/null' EXIT
wait "${started[@]}"
kill $packer 2>/dev/null
sleep 2  # for what it was writing
pack >/dev/null 2>&1
tail -n 3 "$work"/logs/*.log
ls -l "$out"
