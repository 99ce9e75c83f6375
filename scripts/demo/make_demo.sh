#!/usr/bin/env bash
# Makes assets/demo: data, a teacher, two students, and reference figures by transformers. Takes one
# to two minutes on two cores, once the program is built.
#
#   pip install tokenizers==0.23.3 torch==2.15.0 transformers==5.23.0   # torch is for reference.py only
#   scripts/demo/make_demo.sh [FOLDER, default assets/demo] [more flags for the trainings, such as --threads 1]
#
# The same machine and build give the same bytes, on any number of threads. PYTHON sets another interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
mkdir -p "${1:-assets/demo}"
demo=$(cd "${1:-assets/demo}" && pwd)
shift || true # what is left are flags
python=${PYTHON:-python}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export AUDIT_CACHE_DIR="$work/cache"
cargo build --release
cp "${CARGO_TARGET_DIR:-target}/release/audit" "$work/audit"
"$python" scripts/demo/make_data.py "$work"
cp scripts/demo/*.toml "$work"

# Run in the work folder, so that the records have the relative paths `start` and `teacher`.
cd "$work"
./audit finetune --config teacher.toml --output teacher "$@"
./audit distill --config student.toml --teacher teacher --output student "$@"
./audit distill --config student-overconfident.toml --teacher teacher --output student-overconfident "$@"

for model in teacher student student-overconfident; do
  rm -rf "${demo:?}/$model"
  cp -R "$model" "$demo/$model"
done
cp train.tsv validation.tsv "$demo"
cd "$root"
"$python" scripts/demo/reference.py "$demo" --write
