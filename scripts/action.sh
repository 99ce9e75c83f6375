#!/usr/bin/env bash
# The step of action.yml: runs `audit` with the inputs in INPUT_*, appends the report to the job's
# summary and the verdict to the step's outputs, and ends with audit's own exit code.
#
# Written for the bash 3.2 of macOS. No input is ever part of a command: each is one argument.
set -euo pipefail

# Where `cargo install` has put it, on runners whose PATH does not say so.
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin

# What no run can begin with: exit code 2, as audit's own.
refuse() {
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  printf 'verdict=error\nsigma=\nreport=\n' >> "$GITHUB_OUTPUT"
  exit 2
}

folder=${INPUT_OUTPUT_DIR:-audit-report}
case $folder in
  *[$'\r\n']*) refuse 'output-dir has a line break' 'name a folder in one line' ;;
esac

arguments=(--format=github "--output-dir=$folder")

# Inputs that are a flag's value; an empty one is left out.
for flag in task config teacher student data split limit kappa beta beta-per-example alpha gamma \
  bound label-map max-length device; do
  variable=INPUT_$(printf '%s' "$flag" | tr 'a-z-' 'A-Z_')
  if [ -n "${!variable:-}" ]; then
    arguments+=("--$flag=${!variable}")
  fi
done

# Inputs that are a flag alone.
for flag in fail-fast exit-zero; do
  variable=INPUT_$(printf '%s' "$flag" | tr 'a-z-' 'A-Z_')
  case ${!variable:-false} in
    true) arguments+=("--$flag") ;;
    false) ;;
    *) refuse "$flag is neither true nor false" "write $flag: true or $flag: false" ;;
  esac
done

# The rest, an argument per line.
while IFS= read -r line || [ -n "$line" ]; do
  line=${line%$'\r'}
  if [ -n "$line" ]; then
    arguments+=("$line")
  fi
done <<< "${INPUT_ARGS:-}"

outputs=$(mktemp)
trap 'rm -f "$outputs"' EXIT
code=0
audit "${arguments[@]}" --github-output="$outputs" || code=$?

if [ -s "$outputs" ]; then
  cat "$outputs"
  printf 'report=%s\n' "$folder"
else
  # No report was written; what lies in the folder is an earlier run's.
  printf 'verdict=error\nsigma=\nreport=\n'
fi >> "$GITHUB_OUTPUT"

if [ -s "$outputs" ] && [ -f "$folder/report.md" ]; then
  cat "$folder/report.md" >> "$GITHUB_STEP_SUMMARY"
fi
exit "$code"
