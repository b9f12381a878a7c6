#!/usr/bin/env bash
# The base model from nothing on one GPU: bash bench/gpu_pretrain.sh MINUTES OUT [TOKENIZER] [more flags of pretrain]
# Trains for MINUTES in $WORK (default build/gpu), then asks the model every split. The same command resumes a run that
# was interrupted. OUT gets the model as a tar file, that of half the time (before the learning rate falls), the
# metrics, the measurements and a log of each.
set -u
minutes=$1 out=$2 tokenizer=${3:-}
shift $(($# < 3 ? $# : 3))
here=$(cd "$(dirname "$0")/.." && pwd)
workers=$(($(env -u OMP_NUM_THREADS nproc) - 1))  # before the export below: nproc obeys it
workers=$((workers < 1 ? 1 : workers > 15 ? 15 : workers))
export PYTHONPATH="$here:${PYTHONPATH:-}" OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
export TORCHDYNAMO_SUPPRESS_ERRORS=1  # what cannot be compiled runs as it is
ulimit -n 65536 2>/dev/null || true  # each batch on its way takes two
run=${WORK:-$here/build/gpu}
mkdir -p "$out" "$run"
newest() { ls -d "$run"/checkpoints/step-* 2>/dev/null | tail -1; }
half() { awk -F'"seconds": ' -v m="$minutes" 'END { exit !($2 + 0 < 30 * m) }' "$run"/metrics.jsonl; }
pack() { tar -C "$(dirname "$1")" --exclude training -cf "$out/.$2" "$(basename "$1")" 2>/dev/null && mv "$out/.$2" "$out/$2"; }
(while sleep 10; do
    cp "$run"/metrics.jsonl "$out"/ 2>/dev/null || continue
    [ -n "$(newest)" ] && pack "$(newest)" model.tar && half && cp "$out"/model.tar "$out"/half.tar
done) >/dev/null 2>&1 &
saver=$!
trap 'kill $saver 2>/dev/null' EXIT
echo "$workers workers make text"
python3 -m thinkling pretrain --out "$run" --minutes "$minutes" \
    --workers "$workers" --rows 104 --length 768 --save-every 390 --warmup-steps 100 --decay-share 0.5 \
    ${tokenizer:+--tokenizer "$tokenizer"} "$@" 2>&1 | tee "$out"/pretrain.log
kill $saver
cp "$run"/metrics.jsonl "$out"/
[ -f "$run"/finished.json ] || exit 1
pack "$(newest)" model.tar
python3 "$here"/bench/splits.py --model "$run" --out "$out"/splits.json --dtype float32 --cache-gb 6 \
    --num-problems "${PROBLEMS:-500}" 2>&1 | tee "$out"/splits.log
