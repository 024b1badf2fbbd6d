// Package model computes the loss of decoder language models, and its gradients, with an
// explicit forward and backward pass.
//
// # Architectures
//
// One file describes one architecture: which shared blocks a layer is made of and how the
// weights are named (bzmoe.go: "bz_moe", a mixture-of-experts decoder). A model folder is that
// of Hugging Face: config.json, and weights in safetensors. Weights are held in single precision.
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
