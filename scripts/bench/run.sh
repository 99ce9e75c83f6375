#!/bin/sh
# Runs the engine benchmark: environment, our engine, then bench.py, which gets every argument except --python.
#
#     sh scripts/bench/run.sh [--python PATH] [--quick] [--shape bert-base|tinybert] [--lengths sst2|qnli] …
#
# See scripts/bench/README.md.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1

python=
left=$#
while [ "$left" -gt 0 ]; do
    case $1 in
        --python)
            python=${2:?--python needs a path}
            shift 2
            left=$((left - 2))
            ;;
        *)
            set -- "$@" "$1"
            shift
            left=$((left - 1))
            ;;
    esac
done

target=${CARGO_TARGET_DIR:-target}
bench=$target/bench
if [ -z "$python" ]; then
    python="$bench/venv/bin/python"
    requirements=scripts/bench/requirements.txt
    # This copy marks that all packages were installed.
    if ! cmp -s "$requirements" "$bench/venv/requirements.txt"; then
        python3 -m venv "$bench/venv"
        "$python" -m pip install --quiet --requirement "$requirements" >&2
        cp "$requirements" "$bench/venv/requirements.txt"
    fi
fi

cargo build --quiet --release --example engine
exec "$python" scripts/bench/bench.py --folder "$bench" --engine "$target/release/examples/engine" "$@"
