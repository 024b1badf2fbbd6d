#!/usr/bin/env bash
# Mining cycles against the clock: run.sh [WINDOWS] [WORK].
#
# Runs cycles (20 unless given) in windows of 30 to 60 s that are entered when 0, 30, 70 and 95 % of them are
# over, in three of four on a machine that is made up to three times slower, by stopping the
# process for moments. Each must end before its deadline with a bundle that verifies and exit code 0, or
# with exit code 6 and no bundle, and that only where the time left is below the reserve that the cycle
# states; cycles entered at 0 and 30 % must always bundle. Of the time that is left less the reserve, 85 %
# must go into training.
set -euo pipefail
cd "$(dirname "$0")/../.."
windows=${1:-20}
work=${2:-$(mktemp -d)}
mkdir -p "$work"
go build -o "$work/bzdata" ./cmd/bzdata
if [ ! -d "$work/sample/runs/sample/out/tokens" ]; then
  "$work/bzdata" sample --documents 3000 --progress none "$work/sample" >/dev/null
  "$work/bzdata" run --until tokenize --progress none "$work/sample/plan.yaml" >/dev/null
fi
cp examples/cycle/cycle.yaml "$work/sample/"
RANDOM=1

# slowed PID MOST: stops the process for up to MOST times 50 ms after each 50 ms, until it ends
slowed() {
  while kill -0 "$1" 2>/dev/null; do
    sleep 0.05
    kill -STOP "$1" 2>/dev/null || return 0
    sleep "$(awk -v r=$RANDOM -v m="$2" 'BEGIN {printf "%.3f", 0.05 * m * r / 32768}')"
    kill -CONT "$1" 2>/dev/null || return 0
  done
}

starts=(0 30 70 95) # in per cent of the window
missed=0
miss() {
  echo "MISSED $1"
  missed=1
}

for ((i = 0; i < windows; i++)); do
  seconds=$((30 + RANDOM % 31))
  entered=${starts[i % 4]}
  left=$((seconds * (100 - entered) / 100))
  slower=$((i / 4 % 4 == 0 ? 0 : 2))
  rm -rf "$work/run"
  deadline=$(($(date +%s) + left))
  "$work/bzdata" cycle "$work/sample/cycle.yaml" --workdir "$work/run" --progress none --reserve 1s \
    --deadline "$(date -u -d "@$deadline" +%Y-%m-%dT%H:%M:%SZ)" >"$work/out.txt" 2>"$work/err.txt" &
  pid=$!
  if [ $slower -gt 0 ]; then slowed $pid $slower & fi
  code=0
  wait $pid || code=$?
  ended=$(date +%s)
  wait
  what="window $i of $seconds s, entered at $entered %, $left s left, slowed up to $((slower + 1)) times: exit code $code"
  echo "$what; $(grep -o '^window.*' "$work/out.txt" || tail -1 "$work/err.txt")"
  case $code in
  0)
    [ $ended -le $deadline ] || miss "the bundle came $((ended - deadline)) s late"
    "$work/bzdata" verify "$work/run/out/bundle" >/dev/null || miss "the bundle does not verify"
    share=$(grep -o '[0-9]* % of the rest' "$work/out.txt" | cut -d' ' -f1)
    [ "$share" -ge 85 ] || miss "only $share % of the time went into training"
    ;;
  6)
    [ ! -e "$work/run/out/bundle" ] || miss "there is a bundle in spite of exit code 6"
    [ $entered -ge 70 ] || miss "no bundle, though there was time"
    grep -q 'are kept' "$work/err.txt" || [ $entered = 95 ] || miss "the deadline came although there was time for the reserve"
    ;;
  *) miss "exit code $code" ;;
  esac
done
[ $missed = 0 ]
echo "ok     $windows cycles ended in time"
