#!/usr/bin/env bash
# What each stage of plan.yaml earns on the contaminated data of the first seed: ablate.sh DATA [WORK], as run.sh, whose
# WORK it shares. Further arguments go to bzdata ablate, such as --sources or --seeds 5.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(cd "${1:?usage: ablate.sh DATA [WORK [FLAG…]]}" && pwd)
work=${2:-$(mktemp -d)}
shift $(($# > 1 ? 2 : 1))
bin=$work/bin
dir=$work/seed-1
mkdir -p "$bin" "$dir"
go build -o "$bin/" ./cmd/bzdata ./examples/gsm8k/contaminate
[ -f "$work/base/base/model.safetensors" ] || "$bin/bzdata" sample --progress none --documents 1000 "$work/base"
"$bin/contaminate" --data "$data" --out "$dir" --seed 1
cp examples/gsm8k/*.yaml "$dir/"
ln -sfn "$work/base" "$dir/base"
"$bin/bzdata" ablate --progress plain "$@" "$dir/plan.yaml"
