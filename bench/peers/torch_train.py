"""Optimizer steps of a model folder in PyTorch, in single precision, on a batch that is the same in each step."""

import json
import math
import pathlib
import sys

import say
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

folder, sequences, length, warmup, steps, way, threads = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:6]), sys.argv[6], int(sys.argv[7])
torch.set_num_threads(threads)
config = json.loads((folder / "config.json").read_text())


class PlainMoE(torch.nn.Module):
    """The decoder of model_type bz_moe, as plain as PyTorch allows."""

    def __init__(self, grouped):
        super().__init__()
        self.grouped = grouped
        weights = load_file(folder / "model.safetensors")
        self.experts = config["n_routed_experts"]
        if grouped:
            for layer in range(config["num_hidden_layers"]):
                at = f"model.layers.{layer}.mlp.experts."
                for part in ("gate_proj", "up_proj", "down_proj"):
                    rows = [weights.pop(f"{at}{e}.{part}.weight").t() for e in range(self.experts)]
                    weights[f"{at}{part}"] = torch.stack(rows).contiguous()
        self.weights = torch.nn.ParameterDict({k.replace(".", "/"): torch.nn.Parameter(v) for k, v in weights.items()})
        half = config["head_dim"] // 2
        angles = torch.arange(length)[:, None] * (config["rope_theta"] ** (-torch.arange(half) / half))[None]
        self.register_buffer("cos", torch.cat([angles.cos()] * 2, -1), persistent=False)
        self.register_buffer("sin", torch.cat([angles.sin()] * 2, -1), persistent=False)

    def w(self, name):
        return self.weights[name.replace(".", "/")]

    def norm(self, x, name):
        return F.rms_norm(x, (x.shape[-1],), self.w(name), config["rms_norm_eps"])

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat([-b, a], -1) * self.sin

    def attention(self, x, at):
        heads = lambda name: F.linear(x, self.w(f"{at}.{name}.weight")).unflatten(-1, (-1, config["head_dim"])).transpose(1, 2)
        q, k, v = self.rotate(heads("q_proj")), self.rotate(heads("k_proj")), heads("v_proj")
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return F.linear(out.transpose(1, 2).flatten(2), self.w(f"{at}.o_proj.weight"))

    def mlp(self, x, at):
        gate, up, down = (self.w(f"{at}.{n}.weight") for n in ("gate_proj", "up_proj", "down_proj"))
        return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)

    def by_index(self, x, chosen, gates, at):
        out = torch.zeros_like(x)
        for e in range(self.experts):
            token, slot = torch.where(chosen == e)
            out = out.index_add(0, token, self.mlp(x[token], f"{at}.{e}") * gates[token, slot, None])
        return out

    def by_group(self, x, chosen, gates, at):
        order = chosen.flatten().argsort(stable=True)
        token = order // chosen.shape[1]
        ends = torch.bincount(chosen.flatten(), minlength=self.experts).cumsum(0).to(torch.int32)
        rows = x[token]
        product = lambda a, name: torch._grouped_mm(a, self.w(f"{at}.{name}"), offs=ends)
        rows = product(F.silu(product(rows, "gate_proj")) * product(rows, "up_proj"), "down_proj")
        return torch.zeros_like(x).index_add(0, token, rows * gates.flatten()[order, None])

    def mixture(self, x, at):
        flat = x.flatten(0, 1)
        gates, chosen = F.linear(flat, self.w(f"{at}.gate.weight")).softmax(-1).topk(config["num_experts_per_tok"], -1)
        gates = gates / gates.sum(-1, keepdim=True)
        routed = (self.by_group if self.grouped else self.by_index)(flat, chosen, gates, f"{at}.experts")
        return routed.view_as(x) + self.mlp(x, f"{at}.shared_experts")

    def forward(self, tokens):
        x = F.embedding(tokens, self.w("model.embed_tokens.weight"))
        for layer in range(config["num_hidden_layers"]):
            at = f"model.layers.{layer}"
            x = x + self.attention(self.norm(x, f"{at}.input_layernorm.weight"), f"{at}.self_attn")
            x = x + self.mixture(self.norm(x, f"{at}.post_attention_layernorm.weight"), f"{at}.mlp")
        return F.linear(self.norm(x, "model.norm.weight"), self.w("lm_head.weight"))


packages = ["torch"]
if config["model_type"] == "bz_moe":
    model = PlainMoE(way != "eager")
else:
    from transformers import AutoModelForCausalLM

    packages.append("transformers")
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 experts_implementation="eager" if way == "eager" else "grouped_mm").train()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.whole = whole

        def forward(self, tokens):
            return self.whole(input_ids=tokens, use_cache=False).logits

    model = Logits()
tokens, x = [], 1
for _ in range(sequences * length):
    x = (x * 1664525 + 1013904223) % 2**32
    tokens.append((x >> 8) % config["vocab_size"])
batch = torch.tensor(tokens).reshape(sequences, length)


def loss_of(tokens):
    return F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


if way == "compiled":
    loss_of = torch.compile(loss_of)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)


def step():
    optimizer.zero_grad()
    loss = loss_of(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


for _ in range(warmup):
    loss = step()
say.started(*packages)
with say.phase("passes"):
    for _ in range(steps):
        loss = step()
assert math.isfinite(loss)
say.done(sum=f"{loss:.4f}")
