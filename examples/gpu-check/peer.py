"""What gpu-check measures of DeepSeek-V2-Lite, in PyTorch with transformers: training steps and the losses of a candidate.

    python3 peer.py [--results FILE] throughput|evaluation|all

Weights are random and made on the card. Each layer keeps its experts in two groups, so that the same eight of each are trained
as in gpu-check: the library's own experts are one tensor a layer, which is trained whole or not at all. Ways:

    eager      a loop over the experts that have rows, as the library's own
    grouped    grouped matrix products, where PyTorch has them
    compiled   the grouped products, or else the loop, with torch.compile

A measurement that is in the file of results is not made again, and one that fails is left out with its reason. It takes torch 2.4
or newer and a transformers with DeepSeek-V2. --tiny is a small model, on the processor if there is no card: to try this program.
"""

import argparse
import gc
import json
import os
import time

import torch
import torch.nn.functional as F
import transformers
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as library

TRAINED = 8  # experts of each layer
WARMUP, STEPS, SECONDS_MAX = 3, 20, 90
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"

FULL = dict(hidden_size=2048, num_hidden_layers=27, num_attention_heads=16, num_key_value_heads=16, vocab_size=102400,
            intermediate_size=10944, first_k_dense_replace=1, moe_intermediate_size=1408, n_routed_experts=64, n_shared_experts=2,
            num_experts_per_tok=6, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
            max_position_embeddings=163840)
TINY = dict(FULL, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2, vocab_size=600,
            intermediate_size=48, moe_intermediate_size=16, n_routed_experts=12, num_experts_per_tok=2, kv_lora_rank=16,
            qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16)
YARN = dict(rope_type="yarn", factor=40.0, original_max_position_embeddings=4096, beta_fast=32, beta_slow=1, mscale=0.707,
            mscale_all_dim=0.707)


class Group(torch.nn.Module):
    """Some experts: gate and up [n, 2*width, hidden], down [n, hidden, width]."""

    def __init__(self, n, hidden, width, trained):
        super().__init__()
        self.n = n
        self.gate_up = torch.nn.Parameter(torch.empty(n, 2 * width, hidden), requires_grad=trained)
        self.down = torch.nn.Parameter(torch.empty(n, hidden, width), requires_grad=trained)

    def loop(self, rows, counts):
        out = []
        for e, part in enumerate(rows.split(counts)):
            if len(part):
                gate, up = F.linear(part, self.gate_up[e]).chunk(2, -1)
                part = F.linear(F.silu(gate) * up, self.down[e])
            out.append(part)
        return torch.cat(out)

    def grouped(self, rows, ends):
        gate, up = torch._grouped_mm(rows, self.gate_up.transpose(1, 2), offs=ends).chunk(2, -1)
        return torch._grouped_mm(F.silu(gate) * up, self.down.transpose(1, 2), offs=ends)


class Mixture(torch.nn.Module):
    """A layer's experts, the first of which are trained, and shared ones."""

    def __init__(self, config, way):
        super().__init__()
        n, hidden, width = config.n_routed_experts, config.hidden_size, config.moe_intermediate_size
        self.way, self.top_k, self.experts = way, config.num_experts_per_tok, n
        self.router = torch.nn.Parameter(torch.empty(n, hidden), requires_grad=False)
        self.trained = Group(TRAINED, hidden, width, True)
        self.frozen = Group(n - TRAINED, hidden, width, False)
        self.shared_experts = library.DeepseekV2MLP(config, intermediate_size=width * config.n_shared_experts)

    def forward(self, hidden):
        x = hidden.view(-1, hidden.shape[-1])
        scores = F.linear(x.float(), self.router.float()).softmax(-1)
        gates, chosen = scores.topk(self.top_k, -1)
        order = chosen.flatten().argsort(stable=True)
        rows = x[order // self.top_k]
        counts = torch.bincount(chosen.flatten(), minlength=self.experts)
        out = self.by_loop(rows, counts) if self.way == "eager" else self.by_group(rows, counts)
        out = out * gates.flatten()[order, None].to(out.dtype)
        y = torch.zeros_like(x).index_add(0, order // self.top_k, out)
        return y.view_as(hidden) + self.shared_experts(hidden)

    def by_loop(self, rows, counts):
        counts = counts.tolist()
        first = sum(counts[:TRAINED])
        return torch.cat([self.trained.loop(rows[:first], counts[:TRAINED]), self.frozen.loop(rows[first:], counts[TRAINED:])])

    def by_group(self, rows, counts):
        ends = counts.cumsum(0).to(torch.int32)
        first = int(ends[TRAINED - 1])
        mine = self.trained.grouped(rows[:first], ends[:TRAINED])
        others = self.frozen.grouped(rows[first:], ends[TRAINED:] - first)
        return torch.cat([mine, others])


def mix(x):
    """SplitMix64's output function, as in gpu-check."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31


def batch(sequences, length, seed, at):
    """Sequences of gpu-check's corpus, from number at on."""
    out, base = [], mix(seed)
    for i in range(at, at + sequences):
        token, row = 0, []
        for t in range(length):
            draw = mix(base ^ (i * length + t))
            token = (draw >> 8) % 512 if t == 0 or draw % 8 == 0 else (5 * token + 17) % 512
            row.append(token)
        out.append(row)
    return torch.tensor(out, device=DEVICE)


def build(shape, way):
    """The model in bf16, its norms 1 and all else random."""
    # The library's own experts are made and thrown away: few of them.
    config = DeepseekV2Config(**dict(shape, n_routed_experts=TRAINED), q_lora_rank=None, topk_method="greedy", n_group=1,
                              topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.0, rope_theta=10000.0,
                              rope_scaling=dict(YARN), tie_word_embeddings=False, use_cache=False)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = DeepseekV2ForCausalLM(config)
        config.n_routed_experts = shape["n_routed_experts"]
        for layer in model.model.layers[config.first_k_dense_replace:]:
            layer.mlp = Mixture(config, "eager" if way == "eager" or not hasattr(torch, "_grouped_mm") else "grouped")
    torch.set_default_dtype(torch.float32)
    for name, p in model.named_parameters():
        p.requires_grad_(".trained." in name)
        with torch.no_grad():
            p.normal_(0, 0.02) if p.dim() > 1 else p.fill_(1)
    return model.train()


def losses_of(model, tokens):
    logits = model(input_ids=tokens, use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")


def wait():
    if CUDA:
        torch.cuda.synchronize()


def train(model, way, sequences, length):
    """Seconds of a step, and the first and the last loss."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=CUDA)
    loss_of = lambda tokens: losses_of(model, tokens).mean()
    if way == "compiled":
        loss_of = torch.compile(loss_of)
    batches = [batch(sequences, length, 13, sequences * i) for i in range(WARMUP + STEPS)]
    seen, began = [], 0.0
    for i, tokens in enumerate(batches):
        if i == WARMUP:
            wait()
            began = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        seen.append(loss.detach())
        if i > WARMUP and time.perf_counter() - began > SECONDS_MAX:
            break
    wait()
    return (time.perf_counter() - began) / (len(seen) - WARMUP), seen[0].item(), seen[-1].item()


def throughput(shape, way, tiny):
    figures = []
    for sequences, length in [(2, 16)] if tiny else [(8, 1024), (2, 4096)]:
        model = build(shape, way)
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        step, first, last = train(model, way, sequences, length)
        name = f"training, sequences of {length}"
        figures += [(name + ": speed", sequences * length / step, "tokens/s"), (name + ": time of a step", step, "s")]
        if CUDA:
            figures.append((name + ": peak memory", torch.cuda.max_memory_reserved(), "bytes"))
        print(f"{name}, {way}: {sequences * length / step:.0f} tokens/s, loss {first:.4f} to {last:.4f}", flush=True)
        del model
        clear()
    return figures


def evaluation(shape, way, tiny):
    judged, length, seeds = (3, 16, 2) if tiny else (51, 1024, 3)
    model = build(shape, way).eval()
    losses = losses_of if way != "compiled" else torch.compile(losses_of)
    trained = [p for p in model.parameters() if p.requires_grad]
    base = [p.detach().clone() for p in trained]
    candidate = [torch.randn_like(p) * 0.02 for p in trained]
    sets = [[batch(min(8, judged - at), length, 100 + seed, at) for at in range(0, judged, 8)] for seed in range(seeds)]
    means, took = [], 0.0
    with torch.no_grad():
        for run in range(2):  # the first is a warm-up, for compiling
            means = []
            wait()
            began = time.perf_counter()
            for batches in sets:
                for weights in base, candidate:
                    for p, w in zip(trained, weights):
                        p.copy_(w)
                    means.append(torch.cat([losses(model, tokens) for tokens in batches]).mean().item())
            wait()
            took = time.perf_counter() - began
    print(f"evaluation, {way}: {took:.2f} s, losses {' '.join(f'{m:.4f}' for m in means)}", flush=True)
    return [("evaluation, base and candidate", took, "s")]


def clear():
    gc.collect()
    torch._dynamo.reset()
    if CUDA:
        torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", default="peer.json")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--ways", default="eager,grouped,compiled")
    parser.add_argument("parts", nargs="+", choices=["throughput", "evaluation", "all"])
    given = parser.parse_args()
    card = torch.cuda.get_device_name() if CUDA else "no card"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, {card}"
    kept = {"versions": versions, "figures": [], "failed": []}
    if os.path.exists(given.results):
        with open(given.results) as f:
            found = json.load(f)
        if found["versions"] == versions:
            kept = dict(found, failed=[])
    chosen = ["throughput", "evaluation"] if "all" in given.parts else given.parts
    for part in chosen:
        for way in given.ways.split(","):
            if any(f["part"] == part and f["way"] == way for f in kept["figures"]):
                continue
            try:
                if way == "grouped" and not hasattr(torch, "_grouped_mm"):
                    raise NotImplementedError("this PyTorch has no grouped products")
                figures = globals()[part](TINY if given.tiny else FULL, way, given.tiny)
                kept["figures"] += [dict(part=part, way=way, what=w, value=v, unit=u) for w, v, u in figures]
            except Exception as e:  # such as memory that is not there
                kept["failed"].append(f"{part}, {way}: {type(e).__name__}: {str(e)[:300]}")
                print(kept["failed"][-1], flush=True)
            clear()
            with open(given.results + ".tmp", "w") as f:
                json.dump(kept, f, indent=1)
            os.replace(given.results + ".tmp", given.results)


if __name__ == "__main__":
    main()
