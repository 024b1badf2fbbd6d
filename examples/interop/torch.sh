#!/usr/bin/env bash
# Exchanges .pt files between bzdata and PyTorch, both ways: torch.sh VENV [WORK]. VENV is a virtual
# environment, into which PyTorch for the CPU is installed unless it is there; WORK, a temporary
# folder unless it is given, takes what is written. Only the installation needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${1:?usage: torch.sh VENV [WORK]}
if [ $# -gt 1 ]; then
  mkdir -p "$2"
  work=$(cd "$2" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
here=examples/interop
if ! "$venv/bin/python" -c 'import numpy, torch' 2>/dev/null; then
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet -r "$here/requirements-torch.txt"
fi
"$venv/bin/python" "$here/torch.py" write "$work"
go run "./$here/torchfiles" write "$work/bzdata"
go run "./$here/torchfiles" read "$work"/torch/*.pt >"$work/read.json"
"$venv/bin/python" "$here/torch.py" check "$work"
