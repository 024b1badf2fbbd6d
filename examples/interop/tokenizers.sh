#!/usr/bin/env bash
# Compares the tokenizer with Hugging Face tokenizers, id by id: tokenizers.sh VENV [WORK [CORPUS FILE...]].
# VENV is a virtual environment, made with what requirements-tokenizers.txt names unless it is there; WORK, a
# temporary folder unless it is given, takes what is written; CORPUS is a folder of texts, or "-" for random texts
# alone; each FILE is a tokenizer.json, the small ones of the tests unless some are given. FUZZ sets how many random
# texts each gets, SEED which. Only the making of VENV needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=tokenizers.sh modules='numpy, tokenizers' requirements=requirements-tokenizers.txt
. examples/interop/prepare.sh "${@:1:2}"
corpus=${3:--}
if [ $# -gt 3 ]; then shift 3; else set -- tokenize/testdata/{hf_gpt2,hf_qwen2,more_[!a]*}.json; fi
go build -o "$work/tokenids" "./$here/tokenids"
rm -f "$work"/texts.ids
[ "$corpus" = - ] || "$venv/bin/python" "$here/tokenizers.py" corpus "$work" "$corpus"
bad=0
for file in "$@"; do
  echo "$file"
  "$venv/bin/python" "$here/tokenizers.py" fuzz "$work" "$file" "${FUZZ:-10000}" "${SEED:-1}"
  "$work/tokenids" full "$file" "$work/fuzz.jsonl" "$work/fuzz.out"
  [ "$corpus" = - ] || "$work/tokenids" ids "$file" "$work/texts.jsonl" "$work/texts.ids"
  "$venv/bin/python" "$here/tokenizers.py" check "$work" "$file" || bad=1
done
exit "$bad"
