#!/usr/bin/env bash
# Memory that does not grow with the input: run.sh [DOCUMENTS] [WORK].
#
# Makes a corpus of DOCUMENTS (10 million unless given, about 5 GB) and one of a quarter of them, curates the
# large one under 512 MiB and under 8 GiB, which must give the same bytes, and the small one under
# 512 MiB. Prints the peak resident memory of each run and how candidates were grouped. The peaks
# under 512 MiB must be within a tenth of each other, and below 768 MiB; a corpus of less than a million
# documents does not fill that much.
set -euo pipefail
cd "$(dirname "$0")/../.."
documents=${1:-10000000}
work=${2:-$(mktemp -d)}
mkdir -p "$work"
go build -o "$work/bzdata" ./cmd/bzdata

# corpus NAME DOCUMENTS
corpus() {
  if [ ! -f "$work/$1/made" ]; then
    "$work/bzdata" sample --model=false --progress none --documents "$2" "$work/$1" >/dev/null
    touch "$work/$1/made"
  fi
  cp examples/scale/plan.yaml "$work/$1/"
}

# curate NAME MEMORY: prints the figures of the run, leaves its results in $work/NAME/runs/MEMORY
curate() {
  local dir=$work/$1/runs/$2
  rm -rf "$dir"
  "$work/bzdata" run --progress none --memory "$2" --workdir "$dir" "$work/$1/plan.yaml" >"$dir.txt" || {
    cat "$dir.txt"
    exit 1
  }
  echo "$1 --memory $2: $(du -cbL "$work/$1"/data/problems-* | tail -1 | cut -f1) bytes of input"
  sed -n 1p "$dir.txt"
  grep "share a band with another" "$dir.txt" || true
}

# peak NAME MEMORY: the most resident memory of the run, in bytes
peak() { grep -o '"memory_peak_bytes": *[0-9]*' "$work/$1/runs/$2/report.json" | grep -o '[0-9]*$'; }

# sums NAME MEMORY: what is under out/, in hashes
sums() { (cd "$work/$1/runs/$2/out/data" && find -L . -type f | sort | xargs sha256sum | sha256sum); }

mkdir -p "$work/large/runs" "$work/quarter/runs"
corpus large "$documents"
corpus quarter "$((documents / 4))"
curate quarter 512MiB
curate large 512MiB
narrow=$(sums large 512MiB)
small=$(peak quarter 512MiB) large=$(peak large 512MiB)
rm -rf "$work/large/runs/512MiB"
curate large 8GiB
wide=$(sums large 8GiB)
if [ "$narrow" != "$wide" ]; then
  echo "MISSED the output under 512 MiB differs from that under 8 GiB"
  exit 1
fi
alike=$((large * 10 <= small * 11 && small * 10 <= large * 11 && large < 768 << 20))
if [ "$documents" -ge 1000000 ] && [ $alike = 0 ]; then
  echo "MISSED the peak under 512 MiB is $small bytes for a quarter and $large for all"
  exit 1
fi
echo "ok     the peak under 512 MiB is $small bytes for a quarter and $large for all"
echo "ok     the same bytes under 512 MiB and 8 GiB: ${narrow%% *}"
