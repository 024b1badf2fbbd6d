"""Writes the files beside it with PyTorch, and what PyTorch reads in them.

    peer.py FOLDER

peer_views.pt and peer_dtypes.pt are to be read; peer.json has each tensor's type, shape and
bytes, little-endian in row-major order, as PyTorch has them. The other files hold what is no
plain tensor, one fault each, and are to be refused. Written with torch 2.15.
"""

import json
import os
import sys
from collections import OrderedDict

import torch

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64",
         torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64"}


def raw(t):
    """The tensor's values in row-major order."""
    flat = t.detach().resolve_neg().resolve_conj().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""


def views():
    """Tensors that share storages and lie in them in every way."""
    g = torch.Generator().manual_seed(7)
    whole = torch.randn(6, 5, 4, generator=g)
    half = torch.randn(8, 8, generator=g).half()
    brain = torch.randn(7, 3, generator=g).bfloat16()
    return OrderedDict(
        whole=whole, again=whole, transposed=whole.transpose(0, 2), permuted=whole.permute(1, 2, 0), cut=whole[1:5, :, 1:3],
        steps=whole[::2, ::3, ::2], column=whole[:, 2, 1], row=whole[3, 2], last=whole[5, 4, 3], none=whole[:0], none2=whole[:, 5:],
        behind=whole[5:].permute(2, 0, 1)[3:, 1:, 4:],
        halves=half[:, 4:], half_t=half.t(), diagonal=half.diagonal(), brain_t=brain.t(), brain_steps=brain[::3],
        scalar=torch.tensor(-7.5), scalar_half=torch.tensor(0.1).half(), empty=torch.empty(0), empty2=torch.empty(0, 3).bfloat16(),
        one=torch.ones(1, 1, 1), parameter=torch.nn.Parameter(torch.randn(3, 2, generator=g)),
        parameter_t=torch.nn.Parameter(torch.randn(3, 2, generator=g)).t(), window=torch.arange(10.).as_strided((2, 3), (4, 1), 2),
        special=torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45, 3.4e38]),
        special_half=torch.tensor([float("nan"), float("inf"), -0.0, 6e-8, 65504.0]).half(),
    )


def dtypes():
    out = OrderedDict()
    for dtype, name in NAMES.items():
        t = torch.arange(-3, 9).to(dtype).reshape(4, 3)
        out[name], out[name + ".t"] = t, t.t()
    return out


def described(tensors):
    return {k: {"dtype": NAMES[t.dtype], "shape": list(t.shape), "hex": raw(t).hex()} for k, t in tensors.items()}


def refused():
    w = torch.arange(6.).reshape(2, 3)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(w.clone())])
    return {
        "expanded": {"w": torch.ones(1, 3).expand(4, 3)}, "optimizer": {"optimizer_state_dict": optimizer.state_dict()},
        "float8": {"w": w.to(torch.float8_e4m3fn)}, "uint16": {"w": w.to(torch.uint16)},
        "negated": {"w": torch.complex(w, w).conj().imag}, "sparse": {"w": w.to_sparse()}, "number": {"w": w, "step": 3},
        "list": [w], "integer_key": {1: w}, "nested": {"w": {"w": w}}, "size": {"w": w.shape}, "device": {"w": torch.device("cpu")},
        "module": torch.nn.Linear(2, 2),
    }


def main(folder):
    good = {"peer_views.pt": {"model_state_dict": views()}, "peer_dtypes.pt": dtypes()}
    for name, value in good.items():
        torch.save(value, os.path.join(folder, name))
    for name, value in refused().items():
        torch.save(value, os.path.join(folder, f"refused_{name}.pt"))
    torch.save({"w": torch.ones(3)}, os.path.join(folder, "refused_legacy.pt"), _use_new_zipfile_serialization=False)
    with open(os.path.join(folder, "peer.json"), "w", encoding="utf-8") as f:
        json.dump({"peer_views.pt": described(views()), "peer_dtypes.pt": described(dtypes())}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
