#!/usr/bin/env bash
# What int8 and the batches of a service do to σ, accuracy and agreement (docs/onnx.md).
#
#   scripts/reproduce/onnx.sh AUDIT MODELS DATA WORK PYTHON [TASK...]
#
# PYTHON has torch, transformers, onnx and onnxruntime. Exports and results are kept in WORK; what is there is not made
# again. Each line of WORK/onnx.tsv has task, student, how it was run, reference, examples, σ, the accuracy of the
# student, and the share of examples on which both give the same label.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$1" "$2" "$3" "$4"
python=$(realpath "$5")
shift 5

library=$("$python" -c 'import onnxruntime, pathlib
print(next((pathlib.Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")))')

# Audits a student against a reference: NAME REFERENCE_NAME REFERENCE STUDENT FLAG...
row() {
  local name=$1 against=$2 reference=$3 file=$4
  shift 4
  "$audit" --task "$task" --data "$data" --teacher "$reference" --student "$file" --split train \
    --exit-zero --quiet --format json "$@" |
    "$python" -c 'import json, sys
row = json.load(sys.stdin)["tasks"][0]
print(*sys.argv[1:], row["n"], row["sigma"], row["student"]["accuracy"], row["agreement_share"], sep="\t")' \
      "$task" "$student" "$name" "$against"
}

: >"$work/onnx.tsv"
if [ $# = 0 ]; then set -- sst2 mrpc; fi
for task in "$@"; do
  for student in student-3l-kd student-3l-hard; do
    checkpoint="$models/$task/$student" folder="$work/onnx/$task-$student"
    if [ ! -e "$folder/vocab.txt" ]; then
      "$python" "$here/onnx_models.py" export "$checkpoint" "$folder" >>"$work/export.log" 2>&1
    fi
    quantised="$folder/model_quantized.onnx"
    for reference in teacher checkpoint; do
      if [ "$reference" = teacher ]; then path=$(teacher_of "$task"); else path=$checkpoint; fi
      row "checkpoint" "$reference" "$path" "$checkpoint"
      row "f32" "$reference" "$path" "$folder/model.onnx" --onnxruntime "$library"
      row "f32, built in" "$reference" "$path" "$folder/model.onnx"
      row "int8" "$reference" "$path" "$quantised" --onnxruntime "$library"
      row "int8, built in" "$reference" "$path" "$quantised"
      row "int8, 32, longest" "$reference" "$path" "$quantised" --onnxruntime "$library" --onnx-batch 32
      row "int8, 32, 128 tokens" "$reference" "$path" "$quantised" --onnxruntime "$library" \
        --onnx-batch 32 --onnx-pad 128
    done >>"$work/onnx.tsv"
  done
done
