#!/usr/bin/env bash
# The base model from nothing on one GPU: bash bench/gpu_pretrain.sh MINUTES OUT [TOKENIZER] [more flags of pretrain]
# Trains for MINUTES, keeps a snapshot every two, then asks the model every split. OUT gets the model as a tar file, its
# losses, the measurements and a log of each.
set -u
minutes=$1 out=$2 tokenizer=${3:-}
shift $(($# < 3 ? $# : 3))
here=$(cd "$(dirname "$0")/.." && pwd)
workers=$(($(env -u OMP_NUM_THREADS nproc) - 1))  # before the export below: nproc obeys it
workers=$((workers < 1 ? 1 : workers > 15 ? 15 : workers))
export PYTHONPATH="$here:${PYTHONPATH:-}" OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
export TORCHDYNAMO_SUPPRESS_ERRORS=1  # what cannot be compiled runs as it is
ulimit -n 65536 2>/dev/null || true  # each batch on its way takes two
work=$(mktemp -d)
mkdir -p "$out"
(while sleep 20; do
    cp "$work"/model.metrics.jsonl "$out"/ 2>/dev/null
    [ -d "$work"/model-snapshot ] && tar -C "$work" -cf "$out"/.snapshot.tar model-snapshot 2>/dev/null &&
        mv "$out"/.snapshot.tar "$out"/snapshot.tar
done) >/dev/null 2>&1 &
saver=$!
trap 'kill $saver 2>/dev/null' EXIT
echo "$workers workers make text"
python3 -m thinkling.cli pretrain --out "$work"/model --size thinkling-small --corpus reasoning --minutes "$minutes" \
    --snapshot-minutes 2 --workers "$workers" --rows 104 --length 768 --short-length 256 \
    --warmup-steps 100 --decay-share 0.5 \
    ${tokenizer:+--tokenizer "$tokenizer"} "$@" 2>&1 | tee "$out"/pretrain.log
kill $saver
cp "$work"/model.metrics.jsonl "$out"/
[ -d "$work"/model ] || exit 1
tar -C "$work" -cf "$out"/model.tar model && rm -f "$out"/snapshot.tar "$out"/.snapshot.tar
python3 "$here"/bench/splits.py --model "$work"/model --out "$out"/splits.json --dtype float32 --cache-gb 6 \
    --num-problems "${PROBLEMS:-500}" 2>&1 | tee "$out"/splits.log
