#!/usr/bin/env bash
# Is the verdict right about itself? run.sh DATA [WORK]. DATA holds gsm8k and wikitext2; WORK, a temporary
# folder unless it is given, takes everything that is written.
#
# Takes a base that has learnt the domain, as a network's has: the sample's, all of its weights trained on
# GSM8K. Trains four updates of its experts: two of different seeds and lengths, a short one, and one on
# encyclopaedic text. Of these it makes forty of graded strength, backwards and random ones among
# them, and a copy of the base, and holds the standard error, the gate and what networks pay against them: see
# main.go. It takes about 12 minutes of CPU.
#
# Measured (AVX-512 kernels; 949 judged documents; differences of -0.030 to +2.88 nats per token over a base of 3.578):
# 95.50 % of 20,000 halvings within 1.96 standard errors, 92.2 to 96.8 % by update, where 500 halvings of one
# update have a standard error of 1.0; the gate passes 2.34 % of 80,000 sign flips, 1.70 to 3.40 % by update. Of six
# noises the gate calls five worse and one undecided; two have a score above 0 by the first 51 batches that a network
# looks at, of at most 0.00065 nats.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(cd "${1:?usage: run.sh DATA [WORK]}" && pwd)
work=${2:-$(mktemp -d)}
mkdir -p "$work/bin"
go build -o "$work/bin/" ./cmd/bzdata ./examples/calibration ./examples/gsm8k/merge
[ -f "$work/base/base/model.safetensors" ] || "$work/bin/bzdata" sample --progress none --documents 1000 "$work/base"
cp examples/calibration/plan.yaml "$work/"

# update NAME FLAG…: trains one. The gate may refuse it: it is judged below.
update() {
  local name=$1 code=0
  shift
  "$work/bin/bzdata" run --progress none --workdir "$work/runs/$name" --var data="$data" "$@" "$work/plan.yaml" || code=$?
  [ "$code" = 0 ] || [ "$code" = 4 ]
}
if [ ! -f "$work/adapted/model.safetensors" ]; then
  update adapt --var base=base/base --set train.trainable=all --set train.naming=native --set train.dtype=F32 --set train.max_steps=300
  "$work/bin/merge" --base "$work/base/base" --run "$work/runs/adapt" --to "$work/adapted"
fi
update long --set seed=4
update other --set seed=2 --set train.max_steps=60
update short --set seed=3 --set train.max_steps=15
update foreign --var train=wikitext2/sections.jsonl --var template='{{text}}'
cd "$work/runs"
"$work/bin/calibration" --base "$work/adapted" --tokens long/out/tokens \
  scaled:long:0,0.01,0.02,0.05,0.1,0.2,0.35,0.5,0.75,1,1.25,1.5,2 \
  scaled:long:-0.02,-0.1,-0.25,-0.5 \
  scaled:other:0.05,0.1,0.25,0.5,1,1.5,2 \
  scaled:short:0.25,0.5,1,1.5,2 \
  scaled:foreign:0.1,0.25,0.5,1,1.5,2 \
  noise:long:0.25,0.5,1,1.5,2,3
