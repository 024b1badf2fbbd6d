#!/usr/bin/env bash
# A model larger than memory: run.sh [WORK].
#
# Makes a DeepSeek-V2-Lite of full size with random bf16 weights (31 GB) and a corpus, and finds which
# experts 8,192 tokens of it activate, layer by layer. The peak resident memory must be below 20 GiB.
# Random weights say nothing about experts; time and memory are those of real ones.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-$(mktemp -d)}
mkdir -p "$work"
if [ ! -f "$work/model/made" ] && [ "$(df --output=avail -B1G "$work" | tail -1)" -lt 34 ]; then
  echo "$work has less than 34 GB free" >&2
  exit 1
fi
go build -o "$work/bzdata" ./cmd/bzdata
if [ ! -f "$work/model/made" ]; then
  "$work/bzdata" sample --model deepseek_v2 --size full "$work/model"
  touch "$work/model/made"
fi
"$work/bzdata" sample --model=false --progress none --documents 20000 "$work/corpus" >/dev/null
cp examples/fullsize/plan.yaml "$work/"
rm -rf "$work/run"
"$work/bzdata" run --workdir "$work/run" "$work/plan.yaml"
peak=$(grep -o '"memory_peak_bytes": *[0-9]*' "$work/run/report.json" | grep -o '[0-9]*$')
if [ "$peak" -ge $((20 << 30)) ]; then
  echo "MISSED the peak is $peak bytes"
  exit 1
fi
echo "ok     the peak is $peak bytes, $((peak >> 20)) MiB, below 20 GiB"
