#!/usr/bin/env bash
# Encodes conversations by chat templates with bzdata and with transformers, and compares the ids:
# chat.sh VENV [WORK]. VENV is a virtual environment, into which transformers is installed unless it is
# there; WORK, a temporary folder unless it is given, takes what is written. CHAT_MODELS may name folders
# of models, whose own templates and tokenizers are compared, too, and CHAT_ROWS a JSONL file of
# conversations in a field messages. Only the installation needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=chat.sh modules='jinja2, transformers' requirements=requirements-chat.txt
. examples/interop/prepare.sh "$@"
bzdata=${BZDATA:-bin/bzdata}

[ -f "$work/model/tokenizer.json" ] || "$bzdata" sample "$work/model" --model olmoe --progress none >>"$work/summaries.txt"
export HF_HUB_OFFLINE=1
"$venv/bin/python" "$here/chat.py" write "$work"
rows=${CHAT_ROWS:-$work/chat.jsonl}
for model in "$work"/chat-* ${CHAT_MODELS:-}; do
  for prompt in true false; do
    "$bzdata" tokenize encode "$model" "$rows" --messages messages "--generation-prompt=$prompt" >"$work/ids.txt"
    "$venv/bin/python" "$here/chat.py" check "$model" "$rows" "$prompt" "$work/ids.txt"
  done
done
