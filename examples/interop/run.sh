#!/usr/bin/env bash
# Opens what bzdata writes with Hugging Face datasets, pyarrow, DuckDB, safetensors and PyTorch:
# run.sh VENV [WORK]. VENV is a virtual environment, made with what requirements.txt names
# unless it is there; WORK, a temporary folder unless it is given, takes what is written.
# Only the making of VENV needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=run.sh modules='datasets, duckdb, numpy, pyarrow, safetensors, zstandard' requirements=requirements.txt
. examples/interop/prepare.sh "$@"

sample=$work/sample
[ -f "$sample/base/model.safetensors" ] || bin/bzdata sample "$sample" --documents 2000 --progress none
run() { bin/bzdata run "$@" --progress none >>"$work/summaries.txt"; }

# Few documents are held out of so small a sample: the gate must not ask for a hundred.
run "$sample/plan.yaml" --workdir "$work/parquet" \
  --set proof_of_loss.documents_min=20 --set train.max_steps=60
for format in jsonl jsonl.gz jsonl.zst; do
  run "$sample/plan.yaml" --workdir "$work/$format" --set "export.format=$format" --until export
done
cp "$here"/*.yaml "$work/"
"$venv/bin/python" "$here/check.py" write "$work"
for format in parquet jsonl; do
  run "$work/messages.yaml" --workdir "$work/messages-$format" --set "export.format=$format"
done
run "$work/typed.yaml" --workdir "$work/typed-parquet"
run "$work/typed_back.yaml" --workdir "$work/typed-jsonl"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME=$work/huggingface HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$venv/bin/python" "$here/check.py" check "$work"
"$here/torch.sh" "$venv" "$work/torch"
"$here/bundles.sh" "$venv" "$work/bundles"
"$here/tokens.sh" "$venv" "$work"
"$here/chat.sh" "$venv" "$work/chat"
