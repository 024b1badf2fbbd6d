"""Forward pass with loss of a model folder in transformers, in single precision, without gradients."""

import sys

import say
import torch
from transformers import AutoModelForCausalLM

folder, sequences, length, repeats, experts, threads = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5], int(sys.argv[6])
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, experts_implementation=experts).eval()
tokens, x = [], 1
for _ in range(sequences * length):
    x = (x * 1664525 + 1013904223) % 2**32
    tokens.append((x >> 8) % model.config.vocab_size)
batch = torch.tensor(tokens).reshape(sequences, length)


def forward():
    with torch.inference_mode():
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


loss = forward()
say.started("torch", "transformers")
with say.phase("passes"):
    for _ in range(repeats):
        loss = forward()
say.done(sum=f"{loss.item():.4f}")
