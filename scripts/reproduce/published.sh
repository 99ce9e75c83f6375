#!/usr/bin/env bash
# Makes docs/published.md: runs `audit check` over every teacher/student pair of the paper's own models, compares
# each figure with NumPy's, and writes the page. About a minute on two cores.
#
#   scripts/reproduce/published.sh FOLDER [PAGE]
#   scripts/reproduce/published.sh published
#
# FOLDER has TASK/SPLIT/teacher.parquet, TASK/SPLIT/RUN.parquet (or another format of `audit check`) and runs.json:
# a row per run with its settings and, by split, NumPy's figures. PAGE is docs/published.md unless given; `-` is
# stdout. AUDIT (target/release/audit) is the program, JOBS (2) how many run at a time, PYTHON (python3) needs
# nothing beyond its standard library. Ends with 1, and names the run and the figure, where a figure differs by more
# than 1e-9 or a table is missing. The page is written only if all agree.
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: scripts/reproduce/published.sh FOLDER [PAGE]" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=$(realpath "$1") page=${2:-$root/docs/published.md}
audit=$(realpath "${AUDIT:-$root/target/release/audit}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export audit folder work PYTHONDONTWRITEBYTECODE=1

# One audit: TASK/SPLIT/RUN.EXTENSION and the format of the report.
check() {
  local table=$1 format=$2
  local split=${table%/*} run=${table##*/}
  local teacher=("$folder/$split"/teacher.*)
  mkdir -p "$work/$split"
  # In an empty folder, where no audit.toml sets anything.
  cd "$work/empty"
  "$audit" check --task "${split%%/*}" --split "${split##*/}" --kappa 0.05 --teacher-predictions "${teacher[0]}" \
    --student-predictions "$folder/$table" --format "$format" --exit-zero --quiet \
    >"$work/$split/${run%.*}.$format" || {
    echo "$table: audit check failed" >&2
    return 1
  }
}
export -f check
mkdir "$work/empty"

checked() {
  xargs -P "${JOBS:-2}" -I{} bash -c 'check "$@"' _ {} "$1"
}
(cd "$folder" && find ./*/*/* -type f ! -name 'teacher.*' | sed 's|^\./||') | checked json
# The inputs themselves, for the pairs that the page looks into.
"${PYTHON:-python3}" "$here/published.py" "$folder" "$work" --list | checked csv
"${PYTHON:-python3}" "$here/published.py" "$folder" "$work" >"$work/page.md"
if [ "$page" = - ]; then cat "$work/page.md"; else cp "$work/page.md" "$page"; fi
