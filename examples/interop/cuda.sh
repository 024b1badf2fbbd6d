#!/usr/bin/env bash
# Compiles the kernels of train/tensor/cuda/kernels with NVIDIA's compilers of CUDA 12 and 13, for every architecture that
# they know from 8.0 on, and prints what each kernel takes of a card: cuda.sh VENV. No card is needed. VENV gets what
# requirements-cuda.txt names unless it is there; only that needs a network.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=cuda.sh modules='nvidia.cuda_nvrtc, nvidia.cu13' requirements=requirements-cuda.txt
. examples/interop/prepare.sh "$@"

packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
libraries=("$packages"/nvidia/cuda_nvrtc/lib/libnvrtc.so.12 "$packages"/nvidia/cu13/lib/libnvrtc.so.13)
BZDATA_NVRTC=$(IFS=:; echo "${libraries[*]}") go test -count=1 -timeout 60m -v -run '^TestRealCompilers$' ./train/tensor/cuda
