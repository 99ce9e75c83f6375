#!/usr/bin/env bash
# Changes src/check and src/confidence in every way that cargo-mutants knows, and lists the changes
# that no unit test finds. The two modules use no other, so they are tested as a crate of their own,
# which builds in seconds.
#
# Usage: scripts/mutants.sh [ARGUMENT OF cargo mutants]...
#   scripts/mutants.sh --shard 0/8            an eighth of the mutants
#   git diff main > d; scripts/mutants.sh --in-diff d    those of a change
#
#   SIMULATIONS=1 scripts/mutants.sh --re 'sequential'    with the slow tests
#
# Simulations of the sequential test take 15 seconds for each mutant, so they run only if asked for.
# Needs `cargo install cargo-mutants`. The results are in target/mutants/mutants.out.
set -euo pipefail
cd "$(dirname "$0")/.."

crate=target/mutants
mkdir -p "$crate/src"
rm -rf "$crate/src/check" "$crate/src/confidence"
cp -R src/check src/confidence "$crate/src"
cp Cargo.lock "$crate"
printf '%s\n' 'pub mod confidence;' 'pub mod check;' > "$crate/src/lib.rs"

# The dependencies that the two modules name, in the versions of the project.
dependencies() {
  for name in "$@"; do
    grep -m 1 "^$name = " Cargo.toml
  done
}
{
  printf '%s\n' '[package]' 'name = "confidence-audit"' 'version = "0.0.0"' 'edition = "2021"' '' \
    '[workspace]' '' '[dependencies]'
  dependencies anyhow clap num-bigint rand rand_chacha rayon schemars serde serde_json sha2 statrs thiserror
  printf '%s\n' '' '[dev-dependencies]'
  dependencies proptest tempfile
  printf '%s\n' '' '[profile.dev]' 'opt-level = 1' 'debug = false'
} > "$crate/Cargo.toml"

cd "$crate"
# In place, because the crate is a copy and its dependencies are built.
skipped=(--skip simulation::)
if [ -n "${SIMULATIONS:-}" ]; then
  skipped=()
fi
cargo mutants --in-place --timeout 90 "$@" -- --lib -- ${skipped[@]+"${skipped[@]}"}
