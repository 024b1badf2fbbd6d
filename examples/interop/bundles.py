"""Holds bundles against the networks' published rules, which are written out here anew.

    bundles.py WORK HOTKEY REVISION    exits 1 if anything is not as the rules want it

bundles.sh makes the bundles. Each rule is also tried on a copy that breaks it, and must find that.
"""

import sys

sys.path.pop(0)  # torch.py is beside this file

import base64
import glob
import hashlib
import json
import os
import re

import torch
from safetensors import safe_open
from safetensors.torch import load_file

EXTENSIONS = (".pt", ".bin", ".ckpt", ".safetensors", ".tar")
counts = {"ok": 0, "FAIL": 0, "tensors": 0}


def check(what, ok, detail=""):
    """Prints one check and counts it."""
    word = "ok" if ok else "FAIL"
    counts[word] += 1
    print(f"{word:4}  {what}{': ' + str(detail) if detail != '' else ''}")


def load(name):
    """A file's tensors as a validator loads them."""
    if name.endswith(".safetensors"):
        return load_file(name)
    value = torch.load(name, map_location="cpu", weights_only=True)
    assert list(value) == ["model_state_dict"], list(value)
    return value["model_state_dict"]


def get_model_hash(state, raw_bf16):
    """BLAKE2b of 24 bytes over sorted keys and values. Block Zero's numpy has no bf16: it raises TypeError."""
    h = hashlib.blake2b(digest_size=24)
    for key in sorted(state):
        h.update(key.encode())
        t = state[key].detach().cpu().contiguous()
        if raw_bf16 and t.dtype == torch.bfloat16:
            t = t.view(torch.uint8)
        h.update(t.numpy().tobytes())
    return h.hexdigest()


def expected(naming, assignment, base):
    """Names and shapes of a group's tensors, from the base's."""
    out = {}
    for layer, pairs in assignment.items():
        for my, org in pairs:
            parts = {p: list(base[f"model.layers.{layer}.mlp.experts.{org}.{p}_proj.weight"].shape) for p in ("gate", "up", "down")}
            at = f"model.layers.{layer}.mlp.experts.{my if naming == 'qwen3next' else org}"
            if naming == "v2lite-fused":
                out[f"{at}.gate_up_proj"] = [2 * parts["gate"][0], parts["gate"][1]]
                out[f"{at}.down_proj"] = parts["down"]
            else:
                out |= {f"{at}.{p}_proj.weight": shape for p, shape in parts.items()}
    return out


def rules(state, want, dtypes, raw_bf16, committed):
    """What a validator would reject the tensors for; none is None."""
    if not state:
        return "empty"
    foreign = set(state) - set(want)
    if foreign:
        return f"foreign keys {sorted(foreign)[:2]}"
    if set(want) - set(state):
        return f"keys {sorted(set(want) - set(state))[:2]} are missing"
    for key, t in state.items():
        if type(t) is not torch.Tensor or t.requires_grad or not t.is_contiguous():
            return f"{key} is no plain tensor"
        if list(t.shape) != want[key]:
            return f"{key} has shape {list(t.shape)}"
        if t.dtype not in dtypes:
            return f"{key} is {t.dtype}"
        if not torch.isfinite(t.float()).all():
            return f"{key} has NaN or infinity"
    try:
        got = get_model_hash(state, raw_bf16)
    except TypeError as e:
        return f"hashing fails: {e}"
    return None if got == committed else f"hash {got} is not {committed}"


def broken(state, raw_bf16):
    """Copies that break one rule each."""
    key = sorted(state)[0]

    def change(f):
        out = {k: v.clone() for k, v in state.items()}
        f(out)
        return out

    def put(name, value):
        return lambda s: s.__setitem__(name, value)

    nan, near = state[key].clone(), state[key].clone()
    nan.view(-1)[0] = float("nan")
    near.view(-1)[0] += 1
    grad = torch.nn.Parameter(state[key])
    out = {"a router": change(put("model.layers.1.mlp.gate.weight", torch.ones(2))), "a NaN": change(put(key, nan)),
           "a missing key": change(lambda s: s.pop(key)), "another value": change(put(key, near)), "nothing": {},
           "another shape": change(put(key, state[key].reshape(-1))), "a parameter": change(put(key, grad))}
    if not raw_bf16:
        out["bf16"] = {k: v.bfloat16() for k, v in state.items()}
    return out


def differs(state, base, naming, assignment):
    """How many tensors are not the base's, rounded to their type."""
    n = 0
    for layer, pairs in assignment.items():
        for my, org in pairs:
            at, native = f"model.layers.{layer}.mlp.experts.{my if naming == 'qwen3next' else org}", f"model.layers.{layer}.mlp.experts.{org}"
            for p in ("gate", "up", "down"):
                want = base[f"{native}.{p}_proj.weight"]
                if naming == "v2lite-fused":
                    have = state[f"{at}.down_proj"] if p == "down" else state[f"{at}.gate_up_proj"].chunk(2)[p == "up"]
                else:
                    have = state[f"{at}.{p}_proj.weight"]
                n += not torch.equal(have, want.to(have.dtype))
    return n


def group_bundle(work, name, naming, files, folder, dtypes, raw_bf16, kind):
    """A bundle of a network of expert groups."""
    bundle = f"{work}/{name}/out/bundle"
    with open(f"{bundle}/manifest.json", encoding="utf-8") as f:
        manifest = json.load(f)
    base = load_file(f"{work}/sample/base/model.safetensors")
    with open(glob.glob(f"{work}/sample/expert_groups/exp_problems/expert_assignment.json")[0], encoding="utf-8") as f:
        assignment = json.load(f)
    want = expected(naming, assignment, base)
    have = os.listdir(f"{bundle}/{manifest['directory']}")
    check(f"{name}: folder {manifest['directory']} with {', '.join(sorted(have))}",
          re.fullmatch(folder, manifest["directory"]) and sorted(have) == sorted(files) and all(f.endswith(EXTENSIONS) for f in have))
    for file in files:
        path = f"{bundle}/{manifest['directory']}/{file}"
        state = load(path)
        counts["tensors"] += len(state)
        with open(path, "rb") as f:
            sha = hashlib.sha256(f.read()).hexdigest()
        committed = manifest["hash"] if kind == "blake2b-24" else get_model_hash(state, raw_bf16)
        check(f"{name}: {file}: {len(state)} tensors, {sorted({str(t.dtype) for t in state.values()})}, as the validator's rules want them",
              rules(state, want, dtypes, raw_bf16, committed) is None, rules(state, want, dtypes, raw_bf16, committed) or "")
        if kind == "sha256":
            check(f"{name}: {file}: SHA-256 of the file", sha == manifest["hash"], sha)
        changed = differs(state, base, naming, assignment)
        check(f"{name}: {file}: is no copy of the base", changed > 0, f"{changed} tensors differ")
        missed = [what for what, bad in broken(state, raw_bf16).items() if rules(bad, want, dtypes, raw_bf16, committed) is None]
        check(f"{name}: {file}: the rules find what is broken", not missed, missed or "")
    return manifest, bundle


def message(bundle, manifest, name):
    m = next(m for m in manifest["messages"] if m["name"] == name)
    with open(f"{bundle}/{m['file']}", encoding="utf-8") as f:
        text = f.read()
    assert text == m["text"]
    return m, text


def connito(work, name, dtypes, revision=None):
    m, bundle = group_bundle(work, name, "v2lite-fused", ["model_expgroup_0.pt", "model_expgroup_0.safetensors"],
                             r"globalver_17_inneropt_\d+", dtypes, True, "blake2b-24")
    second, text = message(bundle, m, "commit_2")
    want = {"e": 0, "h": m["hash"], "v": 17, "r": "miner/math", "rv": revision and revision[:7]}
    if revision:
        check(f"{name}: commit 2, {len(text)} bytes", text == json.dumps(want, separators=(",", ":")) and len(text) <= 128, text)
    else:
        blanks = [b["name"] for b in second["fill_in"]]
        filled = text.replace("<repository>", "r" * 32).replace("<revision>", "f" * 7)
        check(f"{name}: commit 2 with {blanks} to fill in", blanks == ["repository", "revision"] and len(filled) == second["bytes"] <= 128
              and second["file"].endswith(".template"), len(filled))
    _, first = message(bundle, m, "commit_1")
    signed = first.replace("<signature>", base64.urlsafe_b64encode(bytes(64)).rstrip(b"=").decode())
    check(f"{name}: commit 1", json.dumps(json.loads(signed), separators=(",", ":")) == signed and len(signed) <= 128, f"{len(signed)} bytes signed")


def blockzero(work, name, dtypes):
    m, bundle = group_bundle(work, name, "qwen3next", ["model_expgroup_0.pt"], r"globalver_0_inneropt_\d+", dtypes, False, "blake2b-24")
    _, text = message(bundle, m, "commit_2")
    want = {"b": 5759026, "e": 0, "m": None, "h": m["hash"], "v": 0, "i": m["id"]["inner_step"]}
    check(f"{name}: commit 2", text == json.dumps(want), text)
    _, first = message(bundle, m, "commit_1")
    check(f"{name}: commit 1", first == json.dumps({"m": "<signature>"}))


def docs(work, hotkey):
    m, bundle = group_bundle(work, "docs", "native", ["model_expgroup_0.safetensors"], r"checkpoint_\d+", {torch.float16}, False, "sha256")
    _, text = message(bundle, m, "message")
    value = json.loads(text.replace("<block>", "1"))
    check("docs: members of SignedModelSubmitMessage", list(value) == ["hotkey", "expert_group", "checkpoint_url", "block_number", "signature"]
          and value["hotkey"] == hotkey, text)


def hash_directory(path):
    h = hashlib.sha256()
    for at, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            with open(os.path.join(at, file), "rb") as f:
                h.update(base64.b64encode(hashlib.sha256(f.read()).digest()))
    return base64.b64encode(h.digest()).decode()


def sn9(work, hotkey, revision):
    bundle = f"{work}/sn9/out/bundle"
    with open(f"{bundle}/manifest.json", encoding="utf-8") as f:
        m = json.load(f)
    base, state = load_file(f"{work}/sample/base/model.safetensors"), load_file(f"{bundle}/model/model.safetensors")
    counts["tensors"] += len(state)
    check("sn9: files", sorted(os.listdir(f"{bundle}/model")) == ["config.json", "model.safetensors"])
    check(f"sn9: {len(state)} tensors, the whole model", {k: v.shape for k, v in base.items()} == {k: v.shape for k, v in state.items()})
    check("sn9: bf16, finite, trained", all(t.dtype == torch.bfloat16 and torch.isfinite(t.float()).all() for t in state.values())
          and any(not torch.equal(state[k], base[k].bfloat16()) for k in state))
    with safe_open(f"{bundle}/model/model.safetensors", "pt") as f:
        check("sn9: metadata that transformers asks for", f.metadata() == {"format": "pt"})
    with open(f"{bundle}/model/config.json", "rb") as a, open(f"{work}/sample/base/config.json", "rb") as b:
        check("sn9: the base's config.json", a.read() == b.read())
    got = hash_directory(f"{bundle}/model")
    check("sn9: folder hash", got == m["hash"], got)
    secure = base64.b64encode(hashlib.sha256((got + hotkey).encode()).digest()).decode()
    _, text = message(bundle, m, "commit_1")
    check("sn9: metadata line", text == f"miner:model:{revision}:{secure}:2" and len(text.encode()) <= 128, text)


def main(work, hotkey, revision):
    connito(work, "connito", {torch.float16}, revision)
    connito(work, "connito-bf16", {torch.bfloat16})
    blockzero(work, "blockzero", {torch.float32})
    blockzero(work, "blockzero-f16", {torch.float16})
    docs(work, hotkey)
    sn9(work, hotkey, revision)
    print(f"{counts['ok'] + counts['FAIL']} checks over {counts['tensors']} tensors with torch {torch.__version__}, {counts['FAIL']} failed")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
