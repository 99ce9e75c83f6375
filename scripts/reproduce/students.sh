#!/usr/bin/env bash
# Trains students one by one, without a search, and audits each on both splits; then the tables.
#
#   scripts/reproduce/students.sh AUDIT MODELS DATA WORK TASK-KIND-SEED ...
#   scripts/reproduce/students.sh target/release/audit models glue work mrpc-30+9-0 mrpc-narrow-0
#
# KIND is
#   I+P       three layers of the teacher by TinyBERT's default settings, with I epochs of the
#             intermediate stage and P of the prediction stage (default 10+3)
#   narrow    four layers, 312 wide, from a general student, which is made first; 10+3 epochs
#   scratch   the same shape from random weights, 10+3 epochs
#
# AUDIT, MODELS, DATA and WORK are those of reproduce.sh. A second run resumes and computes only what is
# missing. THREADS (1) per training, JOBS (2) at a time.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/common.sh" "$@"
shift 4
students="$work/students"
export students
mkdir -p "$students/validation"

# The longest text of a task, tokens, and the examples that are used of it.
shape_of() {
  case $1 in
    cola) echo "max_length = 64" ;;
    sst2) printf 'max_length = 64\nlimit = 10000\n' ;;
    qnli) printf 'max_length = 128\nlimit = 4000\n' ;;
    *) echo "max_length = 128" ;;
  esac
}

# The recipe of one student. κ = 1 admits every state, so that the most accurate one is kept, and the
# record has σ on the training set after each epoch.
recipe() {
  local task=$1 kind=$2 seed=$3 epochs=10+3
  case $kind in *+*) epochs=$kind ;; esac
  echo "task = \"$task\""
  echo 'method = "tinybert"'
  shape_of "$task"
  printf 'seed = %s\nsave_every = 200\n' "$seed"
  printf 'keep = "best-preserved"\nkappa = 1.0\nheld_out = { share = 0.5, seed = 0 }\n'
  case $kind in narrow | scratch) echo "layer_map = [1, 3, 4, 6]" ;; esac
  printf '\n[student]\n'
  case $kind in
    *+*) printf 'init = "teacher-layers"\nlayers = 3\n\n[training]\nfreeze_embeddings = true\n' ;;
    narrow) printf 'init = "base"\nbase = "%s"\n' "$work/general" ;;
    scratch)
      printf 'init = "scratch"\nlayers = 4\nhidden_size = 312\nheads = 12\nintermediate_size = 1200\n'
      ;;
    *) echo "there is no kind of student \`$kind\`" >&2 && return 2 ;;
  esac
  printf '\n[stage.intermediate]\nmax_epochs = %s\n' "${epochs%+*}"
  printf '\n[stage.prediction]\nmax_epochs = %s\n' "${epochs#*+}"
}

# Makes the student that every narrow student starts from: general.toml over texts without labels.
general_student() {
  local teacher="$work/teacher-general" folder="$work/general" resume=()
  if [ -e "$folder/distillation.json" ]; then return; fi
  "${PYTHON:-python}" "$here/general_texts.py" "$data" >"$work/general.tsv"
  if [ ! -e "$teacher/config.json" ]; then
    rm -rf "$teacher"
    "$audit" finetune --config "$here/general-teacher.toml" --base "$models/base" --data "$data" \
      --output "$teacher" >"$teacher.log" 2>&1
  fi
  if [ -e "$folder/training/state.safetensors" ]; then resume=(--resume); fi
  "$audit" distill --config "$here/general.toml" --teacher "$teacher" --data "$work" \
    --threads "${THREADS:-1}" --output "$folder" "${resume[@]}" >>"$folder.log" 2>&1
}

# One student: TASK-KIND-SEED.
student() {
  local name=$1 task kind seed folder="$students/$1" flags
  IFS=- read -r task kind seed <<<"$name"
  recipe "$task" "$kind" "$seed" >"$folder.toml"
  distilled "$folder" "$(teacher_of "$task")"
  flags=$(shape_of "$task" | sed 's/^max_length = /--max-length /; s/^limit = /--limit /')
  # The limit is of the training set.
  # shellcheck disable=SC2086 # two words a flag
  audited "$task" "$folder" "$folder.json" --split train $flags
  # shellcheck disable=SC2046 # two words
  audited "$task" "$folder" "$students/validation/$name.json" --split validation $(head -n 1 <<<"$flags")
}
export -f shape_of recipe student

# Teachers first, because two students of one task would train the same one.
for name in "$@"; do
  teacher_of "${name%%-*}" >/dev/null
  case $name in *-narrow-*) general_student ;; esac
done
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I{} bash -euc 'student {}'
"${PYTHON:-python}" "$here/students.py" "$students"
