# Sourced by the scripts of this folder: the program, the inputs, and the teachers.
#
#   . common.sh AUDIT MODELS DATA WORK

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
audit=$(realpath "$1") models=$(realpath "$2") data=$(realpath "$3") work=$(realpath -m "$4")
export AUDIT_CACHE_DIR="$work/cache" here audit models data work
mkdir -p "$work"

# Prints the folder of a task's teacher. Trains it if it is missing.
teacher_of() {
  local task=$1
  if [ -d "$models/$task/teacher-6l" ]; then
    echo "$models/$task/teacher-6l"
    return
  fi
  local folder="$work/teacher-$task"
  if [ ! -f "$here/teacher-$task.toml" ]; then
    echo "there is no $models/$task/teacher-6l, and no recipe for it" >&2
    return 2
  fi
  if [ ! -e "$folder/config.json" ]; then
    local resume=()
    if [ -e "$folder/training/state.safetensors" ]; then resume=(--resume); fi
    "$audit" finetune --config "$here/teacher-$task.toml" --base "$models/base" --data "$data" \
      --threads "${THREADS:-1}" --output "$folder" "${resume[@]}" >>"$folder.log" 2>&1 || {
      echo "the teacher of $task could not be trained; see $folder.log" >&2
      return 2
    }
  fi
  echo "$folder"
}

# Distils by the recipe STUDENT.toml unless the student is there: STUDENT TEACHER.
distilled() {
  local student=$1 teacher=$2 resume=()
  if [ -e "$student/distillation.json" ]; then return; fi
  if [ -e "$student/training/state.safetensors" ]; then resume=(--resume); fi
  "$audit" distill --config "$student.toml" --teacher "$teacher" --data "$data" \
    --threads "${THREADS:-1}" --output "$student" "${resume[@]}" >>"$student.log" 2>&1
}

# Audits a student into FILE unless that is there: TASK STUDENT FILE FLAGS.
audited() {
  local task=$1 student=$2 file=$3 code=0
  if [ -s "$file" ]; then return; fi
  "$audit" --task "$task" --data "$data" --teacher "$(teacher_of "$task")" --student "$student" \
    --threads "${THREADS:-1}" --format json "${@:4}" >"$file.part" 2>>"$student.log" || code=$?
  if [ "$code" -gt 1 ]; then
    echo "$student: the audit ended with $code; see $student.log" >&2
    return "$code"
  fi
  mv "$file.part" "$file"
}
export -f teacher_of distilled audited
