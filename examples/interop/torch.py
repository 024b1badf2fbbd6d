"""Exchanges .pt files between bzdata and PyTorch, both ways, and compares every bit.

    torch.py write WORK    writes files with PyTorch
    torch.py check WORK    compares what torchfiles wrote, and read, with PyTorch; exits 1 if anything differs

torch.sh runs both. Values, shapes and types are compared as bytes; the model hash is computed
anew by the networks' formula.
"""

import sys

sys.path.pop(0)  # this file is called torch

import glob
import hashlib
import json
import os
import random
import runpy

import torch

here = os.path.dirname(os.path.abspath(__file__))
peer = runpy.run_path(os.path.join(here, "../../train/checkpoint/testdata/peer.py"))
faults = 0


def check(what, ok, detail=""):
    """Prints one check and counts it if it failed."""
    global faults
    faults += not ok
    print(f"{'ok  ' if ok else 'FAIL'}  {what}{': ' + str(detail) if detail != '' else ''}")


def views(seed):
    """Random views of random storages, several of each: permuted, cut, with steps, joined, of no value."""
    rng, out = random.Random(seed), {}
    for i in range(60):
        dtype = rng.choice(list(peer["NAMES"]))
        shape = [rng.randrange(1, 6) for _ in range(rng.randrange(5))]
        whole = (torch.rand(shape) * 200 - 100).to(dtype)
        for j in range(rng.randrange(1, 5)):
            view = whole.permute(rng.sample(range(whole.dim()), whole.dim()))
            for d in range(view.dim()):
                if rng.random() < 0.5:
                    start = rng.randrange(view.shape[d] + (rng.random() < 0.1))  # at the end there is nothing
                    view = view[(slice(None),) * d + (slice(start, rng.randrange(start, 7) + 1, rng.randrange(1, 4)),)]
            if rng.random() < 0.3:
                view = view.unsqueeze(rng.randrange(view.dim() + 1))
            if rng.random() < 0.2 and dtype.is_floating_point:
                view = torch.nn.Parameter(view)
            out[f"t{i}.{j}"] = view
    return out


def sets():
    g = torch.Generator().manual_seed(3)
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.Embedding(7, 3))
    out = {f"views{seed}": {"model_state_dict": views(seed)} for seed in range(8)}
    out |= {"module": module.state_dict(), "half": {"model_state_dict": module.half().state_dict()},
            "large": {"w": torch.randn(1000, 700, generator=g).bfloat16().t()},
            "protocol4": {"a" * 300: torch.ones(2, 2), "b": torch.zeros(())}}
    out |= {name: {str(i): torch.tensor(float(i)) for i in range(5000)} for name in ("many", "many_protocol4")}
    return out


def tensors_of(value):
    return value.get("model_state_dict", value)


def save(name, value):
    torch.save(value, name, **({"pickle_protocol": 4} if "protocol4" in name else {}))


def write(work):
    os.makedirs(f"{work}/torch", exist_ok=True)
    os.makedirs(f"{work}/bzdata", exist_ok=True)
    torch.manual_seed(1)
    for name, value in sets().items():
        save(f"{work}/torch/{name}.pt", value)
    peer["main"](f"{work}/torch")


def model_hash(described):
    """BLAKE2b of 24 bytes over sorted names, each followed by the tensor's bytes."""
    h = hashlib.blake2b(digest_size=24)
    for key in sorted(described, key=lambda k: k.encode()):
        h.update(key.encode())
        h.update(bytes.fromhex(described[key]["hex"]))
    return h.hexdigest()


def described(tensors):
    """As torchfiles describes them; whole tensors by numpy, which is faster than peer.py's lists."""
    out = {}
    for key, t in tensors.items():
        flat = torch.empty(t.numel(), dtype=t.dtype).copy_(t.detach().reshape(-1))
        data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        out[key] = {"dtype": peer["NAMES"][t.dtype], "shape": list(t.shape), "hex": data.hex()}
    return out


def main(work):
    count = 0
    for name in sorted(glob.glob(f"{work}/bzdata/*.pt")):
        got = torch.load(name, weights_only=True)
        with open(name[:-2] + "json", encoding="utf-8") as f:
            want = json.load(f)
        have = described(got["model_state_dict"])
        count += len(have)
        check(f"{name}: {len(have)} tensors, opened by torch.load(weights_only=True)", list(got) == ["model_state_dict"] and have == want["tensors"])
        check(f"{name}: the file's own mapping (mmap=True)", described(torch.load(name, weights_only=True, mmap=True)["model_state_dict"]) == have)
        check(f"{name}: model hash", model_hash(have) == want["hash"], want["hash"])
    written = count
    with open(f"{work}/read.json", encoding="utf-8") as f:
        read = json.load(f)
    refused = 0
    for name in sorted(glob.glob(f"{work}/torch/*.pt")):
        base = os.path.basename(name)
        have = read[base]
        if base.startswith("refused_"):
            refused += 1
            check(f"{base}: refused", have.get("error", "").startswith(name + ": ") and "\n" not in have["error"], have.get("error"))
            continue
        # Protocol 4 is what weights_only refuses; the file is this script's own.
        tensors = tensors_of(torch.load(name, weights_only="protocol4" not in base))
        want, strided = described(tensors), sum(not t.is_contiguous() for t in tensors.values())
        count += len(want)
        check(f"{base}: {len(want)} tensors, {strided} of them not contiguous", "error" not in have and have["tensors"] == want, have.get("error", ""))
        check(f"{base}: model hash", have.get("hash") == model_hash(want), have.get("hash"))
    check("both ways", written > 3000 and count - written > 1000 and refused == 14,
          f"{written} tensors of bzdata opened by torch {torch.__version__}, {count - written} of torch by bzdata, {refused} files refused")
    print(f"{faults} checks failed" if faults else "all checks passed")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        sys.exit(__doc__)
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        sys.exit(main(sys.argv[2]))
