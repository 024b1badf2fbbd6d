#!/usr/bin/env bash
# Bundles an update of the sample model for each network, and holds the bundles against the networks'
# published rules with PyTorch: bundles.sh VENV [WORK]. VENV is a virtual environment, into which PyTorch
# is installed unless it is there; WORK, a temporary folder unless it is given, takes what is
# written, and a WORK/sample that is there is used again. Only the installation needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=bundles.sh modules='numpy, safetensors, torch' requirements=requirements-torch.txt
. examples/interop/prepare.sh "$@"
bzdata=${BZDATA:-bin/bzdata}

sample=$work/sample
[ -f "$sample/base/model.safetensors" ] || "$bzdata" sample "$sample" --documents 2000 --progress none

# Subnet 9's limits are those of models of 3 billion parameters: a profile of one's own has smaller ones.
sed -e 's/{min: 3200000000, max: 3400000000}/{min: 1000, max: 10000000}/' -e '/^  architectures:/,/^$/d' \
  'eval/network/profiles/sn9@6.0.4.yaml' >"$sample/sn9-small.yaml"

hotkey=5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY
revision=0c936fa6d1c1f9f7a1d0b0a3c3b5d7e9f1a2b3c4
bundle() { # NAME PROFILE DTYPE SETTINGS: few documents are held out of so small a sample, and the steps are few
  sed -e "s/^  profile: connito .*/  profile: $2/" -e "s|^  - bundle: {}.*|  - bundle: {$4}|" "$sample/plan.yaml" >"$sample/$1.yaml"
  "$bzdata" run "$sample/$1.yaml" --workdir "$work/$1" --progress none --set "train.dtype=$3" --set train.max_steps=40 \
    --set proof_of_loss.documents_min=20 >"$work/$1.txt"
  "$bzdata" verify "$work/$1/out/bundle"
}
bundle connito connito F16 "global_version: 17, repository: miner/math, revision: $revision"
bundle connito-bf16 connito BF16 "global_version: 17"
bundle blockzero blockzero F32 "block: 5759026"
bundle blockzero-f16 blockzero F16 "block: 5759026"
bundle docs blockzero-docs F16 "hotkey: $hotkey"
bundle sn9 sn9-small.yaml BF16 "repository: miner/model, revision: $revision, hotkey: $hotkey"
"$venv/bin/python" "$here/bundles.py" "$work" "$hotkey" "$revision"
