package tensor

// Device is what a model computes on. Its operations work on whole batches, in the device's memory; they
// may return before their work is done, and are done in the order of the calls. Results do not depend
// on the number of workers or on timing.
//
// Rows of activations have type [Device.Type]: F32 on the processor, F32 or BF16 elsewhere. Statistics of rows,
// logits, probabilities and gradients of weights are F32. Sums are formed in single precision at least.
//
// After a fault, such as memory that is not there or a card that is lost, operations do nothing and
// [Device.Err] says what happened. A Device is safe for concurrent use only as far as its own description
// says.
type Device interface {
	// Name says what decides the bits of a result besides the build, such as "cpu/avx512" or "cuda/sm_90/bf16".
	Name() string
	// String describes the device for people.
	String() string
	// Err returns the first fault, or nil.
	Err() error
	// Sync waits for all work and returns Err.
	Sync() error
	// For calls do(i) once for each i in [0, n), from several goroutines of the host, in any order.
	For(n int, do func(i int))

	// Type is that of activations.
	Type() Type
	// Alloc returns zeros, to be given back with Free.
	Alloc(t Type, n int) Array
	Free(arrays ...Array)
	// Borrow returns n values of unspecified content, to be given back with Return, from memory that is used again.
	Borrow(t Type, n int) Array
	Return(arrays ...Array)
	// Grow makes *a hold n values of unspecified content, allocating only when it must. GrowInts and GrowDoubles
	// do so for theirs.
	Grow(a *Array, t Type, n int)
	GrowInts(a *Ints, n int)
	GrowDoubles(a *Doubles, n int)
	// Upload converts values of the host, Download waits and converts them back; both round to the nearest, ties to even.
	Upload(dst Array, src []float32)
	Download(dst []float32, src Array)
	// UploadBF16 takes values that are stored as BF16, two bytes each, the lower one first.
	UploadBF16(dst Array, raw []byte)
	UploadInts(dst Ints, src []int32)
	DownloadInts(dst []int32, src Ints)
	DownloadDoubles(dst []float64, src Doubles)
	Clear(a Array)
	Copy(dst, src Array)

	// Load returns a weight of the given values. On the processor they become the array itself.
	Load(values []float32) Array
	// Train gives a weight a gradient of zeros, Freeze takes it away.
	Train(w *Weight)
	Freeze(w *Weight)
	// Master returns a weight's values in single precision: with Low those of the master. On the processor
	// they are the array itself, elsewhere a copy.
	Master(w Weight) []float32
	// SetMaster replaces them.
	SetMaster(w *Weight, values []float32)

	// Gemm sets C = A B, or C += A B if add, where A is m by k, B is k by n, and C is m by n with rows ldc
	// apart. C must not overlap A or B.
	Gemm(m, n, k int, a, b Matrix, c Array, ldc int, add bool)
	// AddRow adds a row, such as a bias, to each row of y; SumRows adds the sum of y's rows to a row in F32.
	AddRow(y, row Array)
	SumRows(row, y Array)
	// Add sets dst += a*x.
	Add(dst, x Array, a float32)
	// RMSNorm sets each row y = x * w / √(mean(x²)+ε) of width w.N, and its factor inverse[row] = 1/√(…), for
	// the derivative (Zhang and Sennrich 2019).
	RMSNorm(y, inverse, x, w Array, epsilon float64)
	// RMSNormBack adds the derivative of RMSNorm for dy to dx, and to dw. Either may be none.
	RMSNormBack(dx, dw, dy, x, w, inverse Array)
	// SwiGLU sets dst = gate * sigmoid(gate) * up, elementwise (Shazeer 2020).
	SwiGLU(dst, gate, up Array)
	// SwiGLUBack replaces gate and up by the derivatives with respect to them, for the derivative grad of the result.
	SwiGLUBack(grad, gate, up Array)

	// Embed sets row t of y to row tokens[t] of a table; EmbedBack adds row t of dy to row tokens[t] of its gradient, in the
	// order of t.
	Embed(y, table Array, tokens Ints, width int)
	EmbedBack(grad, dy Array, tokens Ints, width int)
	// GatherRows sets dst[i] = src[ids[i]] and ScatterRows dst[ids[i]] = src[i], of rows; ids differ from each other.
	GatherRows(dst, src Array, ids Ints, width int)
	ScatterRows(dst, src Array, ids Ints, width int)
	// CopyColumns copies the first n columns of rows.
	CopyColumns(dst Array, dstStride int, src Array, srcStride, n, rows int)

	// Rotate turns the pairs (i, half+i) of each head of each row r by the angles of position r%length, whose cosines
	// and sines are tables [length, half] in F32 (Su et al. 2021).
	Rotate(x Heads, rows, heads, half, length int, cos, sin Array)
	// Deinterleave moves the even values of each head of dim before the odd ones, Interleave does the inverse.
	Deinterleave(x Heads, rows, heads, dim int)
	Interleave(x Heads, rows, heads, dim int)
	// JoinKeys makes keys of heads' own values, the first of each head of kv, and of one rotated part for all heads.
	JoinKeys(k, kv Array, shared Heads, l LatentShape)
	// SplitKeys is its derivative: it sets the keys' part of dkv and, adding heads in order, dshared.
	SplitKeys(dkv Array, dshared Heads, dk Array, l LatentShape)
	// Attend is causal softmax attention; it fills a.Out and a.LogSum.
	Attend(a Attended, s AttendShape)
	// AttendBack sets d.Q, d.K and d.V for d.Out.
	AttendBack(a Attended, d AttendGrads, s AttendShape)

	// Route takes the logits in r.Probs to probabilities and fills the rest of r: the K most probable admitted experts
	// of each row, equal ones by the lower number. Its softmax is over the admitted experts.
	Route(r *Routing, rule RouteRule)
	// RouteBack replaces r.Probs by the derivative of the logits, given that of the weights by slot, which it overwrites.
	RouteBack(r *Routing, rule RouteRule, dWeights Array)
	// GatherSlots sets sorted rows to the rows of their slots.
	GatherSlots(sorted, x Array, r *Routing, width int)
	// CombineSlots adds to each row its slots' sorted rows, by rank, times their weights; AddSlots does so without weights.
	CombineSlots(y, sorted Array, r *Routing, width int)
	AddSlots(y, sorted Array, r *Routing, width int)
	// Experts sets sorted rows out to the experts' outputs for sorted rows x, and leaves inner rows.
	Experts(e Experts, r *Routing, x, out Array, inner GLU)
	// ExpertsBack takes dy, the derivatives of the rows that the slots were added to, gathered. It adds to the gradients of
	// the experts that have them, sets dWeights by slot unless that is none, and, if needIn, replaces dy by
	// the derivative of x. It overwrites inner.
	ExpertsBack(e Experts, r *Routing, x, dy Array, inner GLU, dWeights Array, needIn bool)
	// BalanceCount returns, by expert, how often it is among the k most probable of r.Unmasked, and the sum of
	// its probabilities, over the rows that count: those where counted is 1, or all if it is none.
	BalanceCount(r *Routing, k int, counted Ints) (chosen, probable []float64)
	// BalanceBack adds to r.Probs, which are the logits' derivatives, those of Σ slope·probability of r.Unmasked over the
	// rows that count.
	BalanceBack(r *Routing, slope Array, counted Ints)

	// CrossEntropy sets loss[i] = -log softmax(logits[i])[targets[i]] in nats, of rows of vocab logits in F32. If grad is not
	// 0 it replaces logits by the derivative, times grad; otherwise their content is lost.
	CrossEntropy(logits Array, targets Ints, vocab int, grad float32, loss Doubles)

	// SumSquares waits and returns the sum of squares of each array, in double precision; none has 0.
	SumSquares(arrays ...Array) []float64
	// Moments returns AdamW's state of zeros for n values, to be given back with FreeMoments; ReadMoments and SetMoments
	// copy it to the host and back.
	Moments(n int) Moments
	FreeMoments(moments ...Moments)
	ReadMoments(m Moments) (first, second []float32)
	SetMoments(m Moments, first, second []float32)
	// AdamW makes one update of a weight from its gradient. step counts from 1.
	AdamW(rule AdamW, step int, w *Weight, m Moments)
}
