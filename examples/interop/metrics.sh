#!/usr/bin/env bash
# Reads the metrics of one run with TensorBoard, Prometheus' parser and `wandb sync`, and checks that all
# show the numbers of the JSON lines: metrics.sh VENV [WORK]. VENV gets what requirements-metrics.txt names
# unless it is there; WORK, a temporary folder unless it is given, takes what is written. The run is
# killed while it trains, and goes on from the state before that. Only the making of VENV needs a network: W&B's upload goes to
# a server of the script's own on the loopback address.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=metrics.sh modules='prometheus_client, tensorboard, wandb' requirements=requirements-metrics.txt
. examples/interop/prepare.sh "$@"

sample=$work/sample
[ -f "$sample/base/model.safetensors" ] || bin/bzdata sample "$sample" --documents 1000 --progress none
echo 3 >"$sample/rank.txt"
steps=60
run=$work/metrics-run
rm -rf "$run"
# Few documents are held out of so small a sample: the gate must not ask for a hundred.
command=(bin/bzdata run "$sample/plan.yaml" --workdir "$run" --progress none --set proof_of_loss.documents_min=8
  --set train.max_steps=$steps --set train.checkpoint_steps=10 --set metrics.wandb=true
  --set 'metrics.formats=[csv, tensorboard, prometheus]' --set metrics.rank_file=rank.txt)
"${command[@]}" >"$work/killed.txt" 2>&1 &
first=$!
rows() { cat "$run"/metrics/*.jsonl 2>/dev/null | wc -l; }
while kill -0 "$first" 2>/dev/null && [ "$(rows)" -lt 25 ]; do sleep 0.05; done
kill -KILL "$first"
code=0
wait "$first" || code=$?
echo "killed, exit code $code, after $(rows) rows"
[ "$code" = 137 ]
"${command[@]}" >"$work/resumed.txt"
"$venv/bin/python" "$here/metrics.py" "$run" "$steps"
