#!/usr/bin/env bash
# Exchanges .pt files between bzdata and PyTorch, both ways: torch.sh VENV [WORK]. VENV is a virtual
# environment, into which PyTorch is installed unless it is there; WORK, a temporary
# folder unless it is given, takes what is written. Only the installation needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=torch.sh modules='numpy, torch' requirements=requirements-torch.txt
. examples/interop/prepare.sh "$@"
"$venv/bin/python" "$here/torch.py" write "$work"
go run "./$here/torchfiles" write "$work/bzdata"
go run "./$here/torchfiles" read "$work"/torch/*.pt >"$work/read.json"
"$venv/bin/python" "$here/torch.py" check "$work"
