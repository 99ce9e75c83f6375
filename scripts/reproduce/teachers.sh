#!/usr/bin/env bash
# What a teacher adds: students of CoLA that differ in what they learn from, audited against one teacher;
# then the table of docs/distillation.md.
#
#   scripts/reproduce/teachers.sh AUDIT MODELS DATA WORK SEED ...
#   scripts/reproduce/teachers.sh target/release/audit models glue work 0 1 2
#
# AUDIT, MODELS, DATA and WORK are those of reproduce.sh. A second run resumes and computes only what is
# missing. THREADS (1) per training, JOBS (2) at a time.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh" "$@"
shift 4
folder="$work/teachers"
teacher=$(teacher_of cola)
export folder teacher
mkdir -p "$folder"

# The recipe of the student NAME, which is KIND-SEED.
recipe() {
  local kind=${1%-*} seed=${1##*-} method=kd layers=3 epochs=3 losses='{ hard = 0.3, soft = 0.7 }' from=""
  case $kind in
    good) ;;
    brief) from="$folder/once-0" ;;
    smaller) from="$folder/two-$seed" ;;
    itself) from="$folder/none-$(((seed + 1) % 3))" ;;
    none | smooth | two | once) method=finetune losses='{ hard = 1.0 }' ;;
    virtual) method=virtual losses='{ hard = 0.4, virtual = 0.6 }' ;;
    *) echo "there is no kind of student \`$kind\`" >&2 && return 2 ;;
  esac
  case $kind in
    two) layers=2 ;;
    once) layers=6 epochs=1 ;;
  esac
  printf 'task = "cola"\nmethod = "%s"\nmax_length = 64\nkeep = "last"\nseed = %s\n' "$method" "$seed"
  if [ -n "$from" ]; then printf 'learn_from = "%s"\n' "$from"; fi
  printf '\n[student]\ninit = "base"\nbase = "%s"\nlayers = %s\n' "$models/base" "$layers"
  printf '\n[training]\nfreeze_embeddings = true\nmax_epochs = %s\nlearning_rate = 1e-4\n' "$epochs"
  printf 'losses = %s\n' "$losses"
  if [ "$kind" = smooth ]; then echo 'smoothing = 0.1'; fi
}

# One student: KIND-SEED.
student() {
  recipe "$1" >"$folder/$1.toml"
  distilled "$folder/$1" "$teacher"
  audited cola "$folder/$1" "$folder/$1.json" --max-length 64
}
export -f recipe student

# Those that teach come first. `itself` learns from the next of three seeds.
run() { printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I{} bash -euc 'student {}'; }
run once-0 none-0 none-1 none-2 "${@/#/two-}"
run "${@/#/good-}" "${@/#/brief-}" "${@/#/smaller-}" "${@/#/itself-}" "${@/#/smooth-}" "${@/#/virtual-}"
"${PYTHON:-python}" "$here/teachers.py" "$folder"
