#!/usr/bin/env bash
# Makes docs/report.png: the HTML report of the demo's overconfident student.
#
# Needs Chromium (`CHROMIUM`, else chromium) and `audit` (`AUDIT`, else cargo's release build).
set -euo pipefail
cd "$(dirname "$0")/../.."
audit=${AUDIT:-target/release/audit}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/demo.toml" <<'TOML'
[task.demo-overconfident]
text = "sentence"
label = "label"
labels = ["negative", "positive"]
splits = { train = "assets/demo/train.tsv", validation = "assets/demo/validation.tsv" }
TOML
sed -i "s|assets/demo|$PWD/assets/demo|g" "$work/demo.toml"

"$audit" --config "$work/demo.toml" --task demo-overconfident --max-length 64 --no-cache --quiet \
  --teacher assets/demo/teacher --student assets/demo/student-overconfident \
  --format html --exit-zero >"$work/report.html"
"${CHROMIUM:-chromium}" --headless=new --no-sandbox --disable-gpu --no-first-run --hide-scrollbars \
  --disable-background-networking --user-data-dir="$work/profile" \
  --window-size=1000,2110 --screenshot="$PWD/docs/report.png" "file://$work/report.html" 2>/dev/null
