"""Writes parity.safetensors beside this file: what PyTorch and transformers come to when they train the
small DeepSeek-V2 of ../model/testdata/deepseek_v2_lite for 50 steps; parity_test.go compares with it.

Training is what a miner's script does: the loss of DeepseekV2ForCausalLM divided by the accumulation
steps, clip_grad_norm_, AdamW, get_cosine_schedule_with_warmup. It is done twice: of all weights, and of two
experts of each mixture layer. transformers keeps a layer's experts in one parameter of three dimensions, so an
expert's own parameter shares a slice of its memory, and of its gradient.

    pip install torch==2.15.0 transformers==5.24.0 safetensors && python parity.py
"""

import pathlib
import sys

import torch
import transformers as tf
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent / "model" / "testdata"
sys.path.insert(0, str(MODEL))
from peer import watch_routers  # noqa: E402

STEPS, ACCUMULATION, BATCH, LENGTH, VOCAB = 50, 2, 2, 24, 29
WARMUP = 5
RATES = {"all": 3e-3, "experts": 2e-2}
EXPERTS = {1: (0, 3), 2: (2, 5)}  # by layer
ROUTED_STEPS = (1, 10, 25, 50)  # whose router choices are kept, before their update


def make_data():
    """Sequences that count up, with some noise; the later part of some is no target."""
    sequences = STEPS * ACCUMULATION * BATCH
    first, stride = torch.randint(VOCAB, (sequences, 1)), torch.randint(1, 4, (sequences, 1))
    tokens = (first + stride * torch.arange(LENGTH)) % VOCAB
    noise = torch.rand(tokens.shape) < 0.1
    tokens = torch.where(noise, torch.randint(VOCAB, tokens.shape), tokens)
    used = torch.randint(LENGTH // 2, LENGTH + 1, (sequences,))
    return tokens, used


def trained(model, subset):
    """Returns the parameters to train, and what to call after a backward pass."""
    if not subset:
        return list(model.parameters()), lambda: None
    model.requires_grad_(False)
    shared = []
    for layer, experts in EXPERTS.items():
        of = model.model.layers[layer].mlp.experts
        for whole in (of.gate_up_proj, of.down_proj):
            whole.requires_grad_(True)
            shared += [(torch.nn.Parameter(whole.data[e]), whole, e) for e in experts]

    def share():
        for part, whole, e in shared:
            part.grad = whole.grad[e]

    return [part for part, _, _ in shared], share


def train(name, tokens, used, out):
    model = tf.DeepseekV2ForCausalLM.from_pretrained(MODEL / "deepseek_v2_lite", dtype=torch.float32)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    routes = []
    watch_routers(model, routes)
    parameters, share = trained(model, name == "experts")
    optimizer = torch.optim.AdamW(parameters, lr=RATES[name], betas=(0.9, 0.95), weight_decay=0.1)
    schedule = tf.get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    losses, norms, at = [], [], 0
    for step in range(1, STEPS + 1):
        model.zero_grad()
        routes.clear()
        total = 0.0
        for _ in range(ACCUMULATION):
            batch, ends = tokens[at : at + BATCH], used[at : at + BATCH]
            at += BATCH
            labels = torch.where(torch.arange(LENGTH) < ends[:, None], batch, -100)
            loss = model(input_ids=batch, labels=labels).loss / ACCUMULATION
            loss.backward()
            total += loss.item()
        share()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        losses.append(total)
        if step in ROUTED_STEPS:
            for i, (logits, indices) in enumerate(routes):  # of each batch, of each mixture layer
                out[f"{name}.router_logits.{step}.{i}"] = logits.contiguous().clone()
                out[f"{name}.experts.{step}.{i}"] = indices.int().contiguous()
        optimizer.step()
        schedule.step()
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    print(name, f"loss {losses[0]:.4f} to {losses[-1]:.4f}, norm {norms[0]:.3f} to {norms[-1]:.3f}", len(changed), "tensors changed")
    out[f"{name}.losses"] = torch.tensor(losses)
    out[f"{name}.norms"] = torch.tensor(norms)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(11)
    tokens, used = make_data()
    out = {"tokens": tokens.int(), "used": used.int()}
    train("all", tokens, used, out)
    train("experts", tokens, used, out)
    save_file(out, HERE / "parity.safetensors")


if __name__ == "__main__":
    main()
