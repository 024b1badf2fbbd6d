#!/usr/bin/env bash
# Mining cycles against the clock: run.sh [WINDOWS] [WORK].
#
# Runs cycles (20 unless given) in windows of 30 to 60 s that are entered when 0, 30, 70 and 95 % of them are
# over, in three of four on a machine that is made up to three times slower, by stopping the
# process for moments. Each must end before its deadline with a bundle that verifies and exit code 0, or
# with exit code 6 and no bundle, and that only where the time left is below the reserve that the cycle
# states; cycles entered at 0 and 30 % must always bundle. Of the time that is left less the reserve, 85 %
# must go into training, or all but less than a step of it takes, where there is room for a few only; and the first
# step that counts must begin within 15 s of the start.
#
# Then a loop runs three cycles, each on the bundle of the one before: from the second on, the first step
# must begin within 3 s.
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

# within FILE SECONDS LINES: the last LINES cycles of a record have begun their first step in so many seconds
within() {
  tail -n "$3" "$1" | grep -o '"first_step_s":[0-9.]*' | cut -d: -f2 |
    awk -v most="$2" -v lines="$3" '{if ($1 > most) late = 1} END {exit late || NR < lines}'
}

# trained FILE: whether 85 % of the time less the reserve went into training, or no other step fitted
trained() {
  local number='([0-9.]+)'
  sed -nE "s/^window +$number s were left, $number s of.* steps of $number s fitted, $number were made in $number s.*/\\1 \\2 \\3 \\4 \\5/p" "$1" |
    awk '{rest = $1 - $2; step = $5 / $4 > $3 ? $5 / $4 : $3; ok = $5 >= 0.85 * rest || rest - $5 < step} END {exit !ok}'
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
  echo "$what; $(grep -oE '^(window|first step).*' "$work/out.txt" | tr '\n' ' ' | grep . || tail -1 "$work/err.txt")"
  case $code in
  0)
    [ $ended -le $deadline ] || miss "the bundle came $((ended - deadline)) s late"
    "$work/bzdata" verify "$work/run/out/bundle" >/dev/null || miss "the bundle does not verify"
    trained "$work/out.txt" || miss "too little of the time went into training"
    within "$work/run/cycles.jsonl" 15 1 || miss "the first step came late: $(tail -n 1 "$work/run/cycles.jsonl")"
    ;;
  6)
    [ ! -e "$work/run/out/bundle" ] || miss "there is a bundle in spite of exit code 6"
    [ $entered -ge 70 ] || miss "no bundle, though there was time"
    grep -q 'are kept' "$work/err.txt" || [ $entered = 95 ] || miss "the deadline came although there was time for the reserve"
    ;;
  *) miss "exit code $code" ;;
  esac
done

# The network's next checkpoint is the last bundle; its first is that of a cycle on the base model.
network=$work/network
rm -rf "$network" "$work/loop" "$work/run" "$work/arriving"
mkdir -p "$network"
cat >"$work/next.sh" <<'EOF'
n=$(($(ls "$1/network" | wc -l) + 1))
cp -r "$BZDATA_BUNDLE" "$1/arriving"
mv "$1/arriving" "$1/network/globalver_${n}_inneropt_0"
EOF
"$work/bzdata" cycle "$work/sample/cycle.yaml" --workdir "$work/run" --progress none --reserve 1s --blocks-left 60 \
  --block-time 1s --then "sh '$work/next.sh' '$work'" >"$work/out.txt"
"$work/bzdata" cycle "$work/sample/cycle.yaml" --workdir "$work/loop" --progress none --reserve 1s --blocks-left 60 \
  --block-time 1s --base "$network" --loop --cycles 3 --poll 1s --then "sh '$work/next.sh' '$work'"
within "$work/loop/cycles.jsonl" 15 3 || miss "a first step of the loop came late"
within "$work/loop/cycles.jsonl" 3 2 || miss "a first step with weights in memory came late"
[ $missed = 0 ]
echo "ok     $windows cycles ended in time, and a loop of three"
