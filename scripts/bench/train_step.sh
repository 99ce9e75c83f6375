#!/bin/sh
# Training steps of a small BERT (6 layers of 384, 32 sequences of 32 tokens), PyTorch's and ours in turn.
#
#     sh scripts/bench/train_step.sh PYTHON [ROUNDS, 5] [THREADS, 1]
#
# PYTHON has torch, transformers and tokenizers. Prints examples per second of CPU time and of wall time, and the
# loss after the same steps from the same weights.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1
python=${1:?PYTHON}
rounds=${2:-5}
threads=${3:-1}

target=${CARGO_TARGET_DIR:-target}
folder=$target/bench/train_step
mkdir -p "$folder"
[ -f "$folder/tokenizer.json" ] || "$python" scripts/bench/train_step.py make "$folder" >&2
cargo build --quiet --release --example train_step
: >"$folder/lines.jsonl"
while [ "$rounds" -gt 0 ]; do
    "$python" scripts/bench/train_step.py run "$folder" "$threads" 2>>"$folder/log" >>"$folder/lines.jsonl"
    "$target/release/examples/train_step" "$folder" "$threads" >>"$folder/lines.jsonl"
    rounds=$((rounds - 1))
done
"$python" scripts/bench/train_step.py report "$folder/lines.jsonl"
