"""Writes the folders of small random models beside this file, with the logits, losses, gradients and
router choices that transformers computes for them; peer_test.go compares with these.

Folders of architectures that transformers has are written by save_pretrained. mixtral and deepseek_moe
are architecture "bz_moe": MixtralForCausalLM (normalised top-k), and LlamaForCausalLM, tied, whose
feed-forward blocks after the first are DeepSeek-V2's.

    pip install torch==2.15.0 transformers==5.24.0 safetensors && python peer.py
"""

import json
import pathlib
import re

import torch
import torch.nn.functional as F
import transformers as tf
from safetensors.torch import load_file, save_file
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
TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=None)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def randomise(model):
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and name.endswith("weight"):
            parameter.data.normal_(1, 0.2)
        else:
            parameter.data.normal_(0, 0.3)


def rename(tensors):
    """Gives the tensors the names of the folders, one for each expert."""
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


def watch_routers(model, routes):
    """Appends the router logits and chosen experts of each mixture layer to routes."""

    def keep(module, inputs, output):
        logits, weights, indices = output
        order = weights.argsort(dim=-1, descending=True, stable=True)
        routes.append((logits.detach().reshape(-1, logits.shape[-1]), indices.gather(-1, order).detach()))

    for name, module in model.named_modules():
        if re.search(r"Top\w*Router|TopKRouter", type(module).__name__):
            module.register_forward_hook(keep)


def write(name, model, config=None):
    randomise(model)
    model = model.float().eval()
    routes = []
    watch_routers(model, routes)
    tokens = torch.randint(VOCAB, (SEQUENCES, LENGTH))
    targets = torch.cat([tokens[:, 1:], torch.full((SEQUENCES, 1), -1)], 1)
    logits = model(input_ids=tokens).logits.reshape(-1, VOCAB)
    loss = F.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="none")
    loss.sum().backward()
    folder = pathlib.Path(__file__).parent / name
    folder.mkdir(exist_ok=True)
    parameters = rename(dict(model.named_parameters()))
    if config is None:
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        written = load_file(folder / "model.safetensors")
        assert written.keys() == parameters.keys(), written.keys() ^ parameters.keys()
        assert all(torch.equal(written[key], value) for key, value in parameters.items())
    else:
        save_file(parameters, folder / "model.safetensors")
        config = dict(model_type="bz_moe", **SHAPE, rope_theta=10000.0, **config)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    peer = {f"gradient.{n}": g for n, g in rename({n: p.grad for n, p in model.named_parameters()}).items()}
    peer["logits"], peer["loss"] = logits.detach(), loss.detach()
    peer["tokens"], peer["targets"] = tokens.flatten().int(), targets.flatten().int()
    for i, (router_logits, indices) in enumerate(routes):
        peer[f"router_logits.{i}"], peer[f"experts.{i}"] = router_logits.contiguous(), indices.int().contiguous()
    save_file({key: value.contiguous() for key, value in peer.items()}, folder / "peer.safetensors")


def balanced(name, model_class, coefficient):
    """Writes beside a folder's peer.safetensors what the load-balancing loss changes: losses and gradients for the
    same tokens, of which the last of the second sequence are padding."""
    folder = pathlib.Path(__file__).parent / name
    model = model_class.from_pretrained(folder, attn_implementation="eager").float().eval()
    model.router_aux_loss_coef = coefficient
    tokens = load_file(folder / "peer.safetensors")["tokens"].long().reshape(SEQUENCES, LENGTH)
    mask = torch.ones_like(tokens)
    mask[1, LENGTH - 11:] = 0
    labels = tokens.masked_fill(mask == 0, -100)
    out = model(input_ids=tokens, attention_mask=mask, labels=labels, output_router_logits=True)
    out.loss.backward()
    targets = torch.cat([labels[:, 1:].masked_fill(mask[:, 1:] == 0, -1), torch.full((SEQUENCES, 1), -1)], 1)
    peer = {f"gradient.{n}": g for n, g in rename({n: p.grad for n, p in model.named_parameters()}).items()}
    peer |= dict(loss=out.loss.detach()[None], aux_loss=out.aux_loss.detach()[None], coefficient=torch.tensor([coefficient]),
                 attention_mask=mask.flatten().int(), targets=targets.flatten().int())
    save_file({key: value.contiguous() for key, value in peer.items()}, folder / "balanced.safetensors")


def bz_moe():
    mixtral = tf.MixtralConfig(**SHAPE, intermediate_size=8, num_local_experts=5, num_experts_per_tok=2,
                               rope_parameters=ROPE, tie_word_embeddings=False, sliding_window=None)
    write("mixtral", tf.MixtralForCausalLM(mixtral),
          dict(moe_intermediate_size=8, n_routed_experts=5, num_experts_per_tok=2, norm_topk_prob=True))
    llama = tf.LlamaForCausalLM(tf.LlamaConfig(**SHAPE, intermediate_size=24, rope_parameters=ROPE,
                                               tie_word_embeddings=True))
    experts = dict(moe_intermediate_size=8, n_routed_experts=6, num_experts_per_tok=3, n_shared_experts=2,
                   norm_topk_prob=False, routed_scaling_factor=1.75, first_k_dense_replace=1)
    llama.model.layers[1].mlp = DeepseekV2Moe(tf.DeepseekV2Config(
        hidden_size=16, num_attention_heads=4, topk_method="greedy", n_group=None, topk_group=None, **experts))
    write("deepseek_moe", llama, dict(intermediate_size=24, tie_word_embeddings=True, **experts))


def deepseek_v2():
    shape = SHAPE | TOKENS | dict(num_key_value_heads=4, num_hidden_layers=3, intermediate_size=24, moe_intermediate_size=8,
                                  first_k_dense_replace=1, n_shared_experts=2, kv_lora_rank=12, qk_nope_head_dim=6,
                                  qk_rope_head_dim=8, v_head_dim=10, norm_topk_prob=False)
    del shape["head_dim"]
    # DeepSeek-V2-Lite: no query latent, greedy, YaRN with equal factors.
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, original_max_position_embeddings=32, beta_fast=32,
                beta_slow=1, mscale=0.707, mscale_all_dim=0.707)
    write("deepseek_v2_lite", tf.DeepseekV2ForCausalLM(tf.DeepseekV2Config(
        **shape, q_lora_rank=None, n_routed_experts=6, num_experts_per_tok=3, topk_method="greedy", n_group=1,
        topk_group=1, routed_scaling_factor=1.0, rope_parameters=yarn)))
    # DeepSeek-V2: query latent, routing limited to groups, another YaRN, biases.
    yarn = yarn | dict(factor=8.0, mscale=1.0, mscale_all_dim=0.8)
    write("deepseek_v2", tf.DeepseekV2ForCausalLM(tf.DeepseekV2Config(
        **shape, q_lora_rank=9, n_routed_experts=8, num_experts_per_tok=3, topk_method="group_limited_greedy",
        n_group=4, topk_group=2, routed_scaling_factor=16.0, attention_bias=True, rope_parameters=yarn)))


def mixtures():
    qwen = SHAPE | TOKENS | dict(num_hidden_layers=4, head_dim=6, intermediate_size=24, moe_intermediate_size=8, num_experts=8,
                                 num_experts_per_tok=3, tie_word_embeddings=False)
    write("qwen3_moe", tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(
        **qwen, norm_topk_prob=True, mlp_only_layers=[0], decoder_sparse_step=1, rope_parameters=ROPE)))
    write("qwen3_moe_sparse", tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(
        **qwen, norm_topk_prob=False, mlp_only_layers=[], decoder_sparse_step=2, attention_bias=True,
        rope_parameters=dict(rope_type="linear", rope_theta=1e6, factor=2.0))))
    shape = SHAPE | TOKENS
    del shape["head_dim"]
    write("olmoe", tf.OlmoeForCausalLM(tf.OlmoeConfig(
        **shape, intermediate_size=8, num_experts=6, num_experts_per_tok=2, norm_topk_prob=False, rope_parameters=ROPE)))


def dense():
    llama3 = dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=24)
    shape = SHAPE | TOKENS | dict(intermediate_size=24)
    write("llama", tf.LlamaForCausalLM(tf.LlamaConfig(
        **(shape | dict(head_dim=8)), rope_parameters=llama3, tie_word_embeddings=True)))
    qwen2 = {key: value for key, value in shape.items() if key != "head_dim"}
    write("qwen2", tf.Qwen2ForCausalLM(tf.Qwen2Config(**qwen2, rope_parameters=ROPE, tie_word_embeddings=False)))
    yarn = dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=32)
    write("qwen3", tf.Qwen3ForCausalLM(tf.Qwen3Config(
        **(shape | dict(head_dim=6)), rope_parameters=yarn, tie_word_embeddings=False)))


def main():
    torch.set_num_threads(1)
    for seed, make in enumerate((bz_moe, deepseek_v2, mixtures, dense), 5):
        torch.manual_seed(seed)
        make()
    for name, model_class in ("qwen3_moe", tf.Qwen3MoeForCausalLM), ("qwen3_moe_sparse", tf.Qwen3MoeForCausalLM), \
            ("olmoe", tf.OlmoeForCausalLM):
        balanced(name, model_class, 1.0)


if __name__ == "__main__":
    main()
