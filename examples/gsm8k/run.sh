#!/usr/bin/env bash
# The check on real data: run.sh DATA [WORK]. DATA holds gsm8k, wikitext2 and esft; WORK, a
# temporary folder unless it is given, takes everything that is written.
#
# For three seeds: contaminate GSM8K, curate it, hold the run against the truth, train on the
# curated and on the contaminated rows with the same steps, batch and seed, and compare both
# updates on GSM8K's test set. Then two updates that the gate must refuse.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(cd "${1:?usage: run.sh DATA [WORK]}" && pwd)
work=${2:-$(mktemp -d)}
mkdir -p "$work"
bin=$work/bin
for program in ./cmd/bzdata ./examples/gsm8k/contaminate ./examples/gsm8k/check ./examples/gsm8k/compare ./examples/gsm8k/merge; do
  go build -o "$bin/" "$program"
done
[ -f "$work/base/base/model.safetensors" ] || "$bin/bzdata" sample --documents 1000 "$work/base"

# refuse COMMAND: the command must end with exit code 4.
refuse() {
  local code=0
  "$@" || code=$?
  if [ "$code" != 4 ]; then
    echo "MISSED the gate ended with exit code $code, want 4"
    exit 1
  fi
  echo "ok     refused with exit code 4"
}

for seed in 1 2 3; do
  echo "== seed $seed"
  dir=$work/seed-$seed
  mkdir -p "$dir"
  "$bin/contaminate" --data "$data" --out "$dir" --seed "$seed"
  cp examples/gsm8k/*.yaml "$dir/"
  ln -sfn "$work/base" "$dir/base"
  "$bin/bzdata" run --progress none "$dir/plan.yaml"
  "$bin/check" --input "$dir" --run "$dir/runs/curated"
  "$bin/bzdata" run --progress none "$dir/raw.yaml"
  echo "training on curated rows against training on contaminated ones:"
  "$bin/compare" --base "$dir/base/base" --tokens "$dir/runs/curated/out/tokens" \
    --first "$dir/runs/raw" --second "$dir/runs/curated"
done

echo "== a copy of the base"
dir=$work/seed-1
refuse "$bin/bzdata" run --progress none --workdir "$dir/runs/copy" --set train.learning_rate=1e-30 "$dir/plan.yaml"
echo "== an update trained on shuffled words, over a base that knows the domain"
"$bin/bzdata" run --progress none --workdir "$dir/runs/adapt" --set train.trainable=all --set train.naming=native \
  --set train.dtype=F32 --set train.max_steps=300 "$dir/plan.yaml"
"$bin/merge" --base "$dir/base/base" --run "$dir/runs/adapt" --to "$dir/adapted"
refuse "$bin/bzdata" run --progress none "$dir/shuffled.yaml"
echo "all is well; everything is in $work"
