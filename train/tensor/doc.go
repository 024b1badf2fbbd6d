// Package tensor computes the operations of a decoder, forward and backward: [Device] lists them. A model is
// written over that interface, with memory that only the device reads, so one model's code runs on every device.
//
// [CPU] is the device of this package: single precision, on the processor. Its inner loops are assembly chosen
// at run time (AVX-512, or AVX2 with FMA), each with a plain Go twin that is always compiled, runs
// on every other architecture and is what the fast one is tested against. The operations are whole steps of a
// model, such as attention or a mixture's experts, and not single loops: a device may then share its work out as
// suits it, a processor by experts and blocks of queries that stay in its caches, a card by tiles.
//
// # Contract of the processor
//
// Matrices are row-major slices with a leading dimension. Every operation gives the
// same bits for any number of workers: work is shared out by rows and columns of the
// result, and each sum is formed in an order fixed by the operand's shape alone.
//
// More strongly, a row of a matrix product depends only on that row of the left operand
// and on the right operand: with k cut into blocks of [KBlock], each block is one chain
// of fused multiply-adds in index order, and blocks are added in index order. So the
// result for a token does not depend on which other tokens share its batch, nor on how
// many. The row operations have the same property.
//
// The sets "avx512" and "avx2" give equal bits; "plain" differs from them by
// rounding, since it has no fused multiply-add.
//
// NaN and infinities propagate as in IEEE arithmetic, so that a diverged loss shows.
package tensor
