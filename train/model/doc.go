// Package model computes the loss of decoder language models, and its gradients, with an
// explicit forward and backward pass.
//
// # Architectures
//
// One file describes one architecture: what absent fields of config.json mean, which are refused,
// which layers are mixtures of experts and which attention block they have. The blocks, and the names of
// the weights, are shared: decoder.go. A model folder is that of Hugging Face: config.json, and
// weights in safetensors. Weights are held in single precision.
//
//	deepseek_v2          latent attention, YaRN, dense layers first, shared experts, group-limited routing
//	qwen3_moe            grouped-query attention with normed heads, mixtures in chosen layers
//	olmoe                attention with normed rows, a mixture in every layer
//	llama, qwen2, qwen3  dense
//	bz_moe               DeepSeek's mixtures with grouped-query attention, for small models
//
// The tests compare logits, losses, gradients and router choices with those of transformers 5.24 on
// small random models of each.
//
// A model can be held whole ([Open]), with the experts of a group only ([OpenGroup]), or not at all, its
// layers read as they are needed ([Stream]). The first and the last give the same bits.
//
// # Contract
//
// All arithmetic follows package tensor's: the same bits for any number of workers. The loss of
// a token depends only on the tokens before it in its sequence and on the weights, to the bit, not
// on the other sequences of the batch nor on the sequence's length: so a base and a candidate,
// or one model under two batch sizes, can be compared token by token.
// Gradients are sums over the batch's tokens, and depend on the batch's order.
//
// A Model keeps its buffers between calls, and is not safe for concurrent use.
package model
