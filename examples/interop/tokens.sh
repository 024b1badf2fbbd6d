#!/usr/bin/env bash
# Opens the token files that bzdata writes for datatrove and Megatron-LM with those programs' own
# readers, and holds every document, and a vocabulary that bzdata has learnt, against Hugging Face's
# tokenizers: tokens.sh VENV [WORK]. VENV is a
# virtual environment, into which they are installed unless they are there; WORK, a temporary folder
# unless it is given, takes what is written, and a WORK/sample that is there is used again. Only the
# installation needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=tokens.sh modules='datatrove, megatron.core, numpy, tokenizers, torch' requirements=requirements-tokens.txt
. examples/interop/prepare.sh "$@"
bzdata=${BZDATA:-bin/bzdata}

sample=$work/sample
[ -f "$sample/base/model.safetensors" ] || "$bzdata" sample "$sample" --documents 2000 --progress none
for width in uint16 uint32; do
  "$bzdata" run "$sample/plan.yaml" --workdir "$work/tokens-$width" --until tokenize --progress none \
    --set export.format=jsonl --set tokenize.packing=best-fit --set tokenize.special_tokens=false \
    --set "tokenize.token_width=$width" --set 'tokenize.also=[datatrove, megatron]' >>"$work/summaries.txt"
done
"$bzdata" tokenize train "$work"/tokens-uint16/out/data/data/*.jsonl --vocab-size 3000 --min-frequency 3 \
  --special '<|endoftext|>' --special '<pad>' --out "$work/trained.json" >>"$work/summaries.txt"
"$venv/bin/python" -W ignore "$here/tokens.py" "$sample" "$work"
