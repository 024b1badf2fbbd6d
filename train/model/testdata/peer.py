"""Writes the folders mixtral and deepseek_moe beside this file: small random models with the
losses and gradients that transformers computes for them, which peer_test.go compares with.

mixtral is MixtralForCausalLM (normalised top-k). deepseek_moe is LlamaForCausalLM, tied, whose
feed-forward blocks after the first are DeepSeek-V2's (shared experts, scaled and not normalised).

    pip install torch==2.15.0 transformers==5.23.0 safetensors && python peer.py
"""

import json
import pathlib
import re

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import DeepseekV2Config, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

SEQUENCES, LENGTH, VOCAB = 2, 70, 29
SHAPE = dict(
    hidden_size=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    num_hidden_layers=2,
    vocab_size=VOCAB,
    rms_norm_eps=1e-5,
    max_position_embeddings=256,
)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def randomise(model):
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.normal_(1, 0.2)
        else:
            parameter.data.normal_(0, 0.3)


def rename(tensors):
    """Gives the tensors DeepSeek's names, one for each expert."""
    out = {}
    for name, value in tensors.items():
        match = re.fullmatch(r"(model\.layers\.\d+\.)(?:block_sparse_moe|mlp)\.experts\.(gate_up|down)_proj", name)
        if not match:
            out[name.replace("block_sparse_moe.gate", "mlp.gate")] = value
            continue
        for expert, matrix in enumerate(value):
            prefix = f"{match[1]}mlp.experts.{expert}."
            if match[2] == "down":
                out[prefix + "down_proj.weight"] = matrix
            else:
                out[prefix + "gate_proj.weight"], out[prefix + "up_proj.weight"] = matrix.chunk(2)
    return {name: value.detach().contiguous().clone() for name, value in out.items()}


def write(name, model, config):
    randomise(model)
    model = model.float().eval()
    tokens = torch.randint(VOCAB, (SEQUENCES, LENGTH))
    targets = torch.cat([tokens[:, 1:], torch.full((SEQUENCES, 1), -1)], 1)
    logits = model(input_ids=tokens).logits.reshape(-1, VOCAB)
    loss = F.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="none")
    loss.sum().backward()
    folder = pathlib.Path(__file__).parent / name
    folder.mkdir(exist_ok=True)
    parameters = dict(model.named_parameters())
    save_file(rename(parameters), folder / "model.safetensors")
    save_file(rename({n: p.grad for n, p in parameters.items()}), folder / "gradients.safetensors")
    config = dict(model_type="bz_moe", **SHAPE, rope_theta=10000.0, **config)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    result = dict(tokens=tokens.flatten().tolist(), targets=targets.flatten().tolist(), loss=loss.tolist())
    result["sequences"] = SEQUENCES
    (folder / "loss.json").write_text(json.dumps(result) + "\n")


def main():
    torch.manual_seed(5)
    torch.set_num_threads(1)
    mixtral = MixtralConfig(**SHAPE, intermediate_size=8, num_local_experts=5, num_experts_per_tok=2,
                            rope_parameters=ROPE, tie_word_embeddings=False, sliding_window=None)
    write("mixtral", MixtralForCausalLM(mixtral),
          dict(moe_intermediate_size=8, n_routed_experts=5, num_experts_per_tok=2, norm_topk_prob=True))
    llama = LlamaForCausalLM(LlamaConfig(**SHAPE, intermediate_size=24, rope_parameters=ROPE,
                                         tie_word_embeddings=True))
    experts = dict(moe_intermediate_size=8, n_routed_experts=6, num_experts_per_tok=3, n_shared_experts=2,
                   norm_topk_prob=False, routed_scaling_factor=1.75, first_k_dense_replace=1)
    llama.model.layers[1].mlp = DeepseekV2Moe(DeepseekV2Config(
        hidden_size=16, num_attention_heads=4, topk_method="greedy", n_group=None, topk_group=None, **experts))
    write("deepseek_moe", llama, dict(intermediate_size=24, tie_word_embeddings=True, **experts))


if __name__ == "__main__":
    main()
