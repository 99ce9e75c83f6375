#!/usr/bin/env bash
# The step of action.yml: finds or installs the `audit` of this version, runs it with the inputs in
# INPUT_*, appends the report to the job summary and the verdict to the step outputs, and exits with
# audit's code.
#
# Written for the bash 3.2 of macOS. Inputs are never part of a script: each is one argument. The
# workspace may be a pull request's: no program, toolchain or cargo setting is taken from there.
set -euo pipefail

# Fails before the run: `refuse CODE WHAT HINT`, with one of audit's exit codes.
refuse() {
  printf 'error: %s\n  hint: %s\n' "$2" "$3" >&2
  printf 'verdict=error\nsigma=\nreport=\n' >> "$GITHUB_OUTPUT"
  exit "$1"
}

# First of all, and by builtins alone: no program of the workspace may be run.
root=$(cd -- "${0%/*}/.." && pwd -P)
workspace=$(cd -- "${GITHUB_WORKSPACE:-.}" && pwd -P)

# Whether a folder, or the nearest one above it that exists, lies in the workspace.
in_workspace() {
  local folder=$1
  while [ ! -d "$folder" ]; do
    case $folder in
      */*) folder=${folder%/*} folder=${folder:-/} ;;
      *) folder=. ;;
    esac
  done
  folder=$(cd -- "$folder" && pwd -P) || return 0
  case $folder/ in
    "$workspace"/*) return 0 ;;
  esac
  return 1
}

# With `uses: ./` the workspace is the action itself, and as trusted.
if ! in_workspace "$root"; then
  trusted=
  IFS=: read -r -a folders <<< "$PATH"
  for entry in "${folders[@]}"; do
    case $entry in
      /*) in_workspace "$entry" || trusted=${trusted:+$trusted:}$entry ;;
    esac
  done
  export PATH=$trusted
  if [ -n "${CARGO_HOME:-}" ] && in_workspace "$CARGO_HOME"; then
    unset CARGO_HOME
  fi
fi

folder=${INPUT_OUTPUT_DIR:-audit-report}
case $folder in
  *[$'\r\n']*) refuse 2 'output-dir has a line break' 'name a folder in one line' ;;
  -*) folder=./$folder ;; # a folder, for every program that is given it
esac

arguments=(--format=github "--output-dir=$folder")

# Inputs that are the value of a flag; empty ones are omitted.
for flag in task config teacher student data split limit kappa beta beta-per-example alpha gamma \
  bound label-map max-length device; do
  variable=INPUT_$(printf '%s' "$flag" | tr 'a-z-' 'A-Z_')
  if [ -n "${!variable:-}" ]; then
    arguments+=("--$flag=${!variable}")
  fi
done

# Inputs that are a flag without a value.
for flag in fail-fast exit-zero; do
  variable=INPUT_$(printf '%s' "$flag" | tr 'a-z-' 'A-Z_')
  case ${!variable:-false} in
    true) arguments+=("--$flag") ;;
    false) ;;
    *) refuse 2 "$flag is neither true nor false" "write $flag: true or $flag: false" ;;
  esac
done

# Further arguments, one per line.
while IFS= read -r line || [ -n "$line" ]; do
  line=${line%$'\r'}
  if [ -n "$line" ]; then
    arguments+=("$line")
  fi
done <<< "${INPUT_ARGS:-}"

# The folder of `cargo install`, which may be missing in the runner's PATH.
cargo_home=${CARGO_HOME:-${HOME:-}/.cargo}
version=$(sed -n '/^version = /{s/.*"\(.*\)".*/\1/p;q;}' "$root/Cargo.toml")

# A cache may have an older `audit`, and a self-hosted runner another program of that name.
find_audit() {
  for program in audit "$cargo_home/bin/audit"; do
    if [ "$("$program" --version 2> /dev/null < /dev/null)" = "audit $version" ]; then
      return 0
    fi
  done
  return 1
}

if ! find_audit; then
  # Not in the workspace, whose rust-toolchain.toml and .cargo/config.toml would choose the compiler.
  (cd -- "$root" && cargo install --locked --force --root "$cargo_home" --path "$root") || true
  find_audit || refuse 3 "audit $version could not be installed" \
    'install Rust and a C compiler in a step before, or put that audit on PATH'
fi

outputs=$(mktemp)
trap 'rm -f "$outputs"' EXIT
code=0
"$program" "${arguments[@]}" --github-output="$outputs" || code=$?

if [ -s "$outputs" ]; then
  cat "$outputs"
  printf 'report=%s\n' "$folder"
else
  # No report was written; files in the folder are those of an earlier run.
  printf 'verdict=error\nsigma=\nreport=\n'
fi >> "$GITHUB_OUTPUT"

if [ -s "$outputs" ] && [ -f "$folder/report.md" ]; then
  cat -- "$folder/report.md" >> "$GITHUB_STEP_SUMMARY"
fi
exit "$code"
