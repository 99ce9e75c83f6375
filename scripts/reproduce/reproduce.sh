#!/usr/bin/env bash
# Makes the figures of docs/reproduction.md: students of 3 and 2 layers by TinyBERT's default settings,
# then tuned; the winners' logits by PyTorch; the tables.
#
#   scripts/reproduce/reproduce.sh AUDIT MODELS DATA WORK TASK-LAYERS:TRIALS ...
#   scripts/reproduce/reproduce.sh target/release/audit models glue work cola-3:10 mrpc-3:10 rte-3:1
#
# AUDIT is the program; MODELS has `base`, a pretrained encoder of six layers, and TASK/teacher-6l for
# mrpc and sst2; the teachers of cola, rte and qnli are fine-tuned from the base. DATA is GLUE's official
# release. TRIALS 1 trains the default student alone. All output is written to WORK; a second run resumes
# there and computes only what is missing. THREADS (1) per training, JOBS (2) at a time. The confirmation
# needs PYTHON (python) with torch and transformers.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh" "$@"
shift 4

# One tune: TASK-LAYERS:TRIALS.
tune() {
  local job=${1%%:*} trials=${1##*:}
  local task=${job%-*} layers=${job##*-}
  local config="$work/$job.toml"
  sed "s/^layers = 3$/layers = $layers/" "$here/../../configs/tune/$task.toml" >"$config"
  local code=0
  "$audit" tune --config "$config" --teacher "$(teacher_of "$task")" --data "$data" \
    --trials "$trials" --threads "${THREADS:-1}" --output "$work/$job" \
    >"$work/$job.txt" 2>>"$work/$job.log" || code=$?
  if [ "$code" -gt 1 ]; then
    echo "$job: audit tune ended with $code; see $work/$job.log" >&2
    return "$code"
  fi
}
export -f tune

# Teachers first, because two jobs of one task would train the same one.
for job in "$@"; do teacher_of "${job%%-*}" >/dev/null; done
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I{} bash -c 'tune {}'
for job in "$@"; do
  name=${job%%:*}
  "${PYTHON:-python}" "$here/confirm.py" "$work/$name" --task "${name%-*}" --data "$data" \
    --teacher "$(teacher_of "${name%-*}")" >"$work/$name.pytorch.json"
done
"${PYTHON:-python}" "$here/tables.py" "$work"
