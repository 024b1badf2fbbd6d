package cuda

import (
	"fmt"

	"bzdata/train/tensor"
)

// attendTiles is how the kernels of attend.cu and attend_back.cu for one pair of widths cut their work.
type attendTiles struct {
	qk, v int // the widest heads that the kernels take; narrower ones are padded
	// The forward pass: threads of a block, its queries, and the keys of a step.
	threads, queries, keys int
	// The backward pass: keys or queries of a block, and for them the queries or keys of a step.
	backRows, backStep int
	// split has a kernel for the keys' derivatives and one for the values', since there are not enough registers for both.
	split bool
}

// attendKernels are sorted by the work that they do. Each fits a card with 99 KiB of shared memory for a block (compute
// capability 8.6 and 8.9), and where its registers allow it two blocks fit one with 164 KiB (8.0).
var attendKernels = []attendTiles{
	{qk: 64, v: 64, threads: 128, queries: 128, keys: 64, backRows: 128, backStep: 32},
	{qk: 128, v: 128, threads: 128, queries: 128, keys: 64, backRows: 64, backStep: 32},
	{qk: 192, v: 128, threads: 256, queries: 128, keys: 64, backRows: 64, backStep: 32},
	{qk: 256, v: 256, threads: 128, queries: 64, keys: 64, backRows: 64, backStep: 16, split: true},
}

// attendWidest bounds the heads that any kernel takes.
const attendWidest = 256

// attendBackThreads are the threads of a block in the backward pass.
const attendBackThreads = 128

// Sizes of the kernels in attend_plain.cu.
const (
	attendPlainThreads = 128
	attendPlainRows    = 16
	attendPlainCols    = 32
)

// headRows are rows of heads of a width.
type headRows struct {
	tensor.Heads
	what       string
	heads, dim int
}

// forwardRows are those that attention reads and writes.
func forwardRows(a tensor.Attended, s tensor.AttendShape) []headRows {
	return []headRows{
		{a.Q, "queries", s.Heads, s.QKDim}, {a.K, "keys", s.KVHeads, s.QKDim},
		{a.V, "values", s.KVHeads, s.VDim}, {a.Out, "outputs", s.Heads, s.VDim},
	}
}

// backRows are the derivatives of forwardRows.
func backRows(g tensor.AttendGrads, s tensor.AttendShape) []headRows {
	return forwardRows(tensor.Attended{Q: g.Q, K: g.K, V: g.V, Out: g.Out}, s)
}

// checkAttend returns what is wrong with operands.
func checkAttend(s tensor.AttendShape, logSum tensor.Array, rows []headRows) error {
	if max(s.QKDim, s.VDim) > attendWidest {
		return fmt.Errorf("heads of %d and %d values are wider than the kernels take, which is %d: use the processor",
			s.QKDim, s.VDim, attendWidest)
	}
	if s.KVHeads <= 0 || s.Heads%s.KVHeads != 0 {
		return fmt.Errorf("%d heads cannot share %d heads of keys and values", s.Heads, s.KVHeads)
	}
	for _, r := range rows {
		need := (s.Sequences*s.Length-1)*r.Stride + (r.heads-1)*r.Step + r.dim
		if r.N < need || r.Type != rows[0].Type {
			return fmt.Errorf("%s: %d values of %s; want %d of %s", r.what, r.N, r.Type, need, rows[0].Type)
		}
	}
	if sums := s.Sequences * s.Heads * s.Length; logSum.N < sums || logSum.Type != tensor.F32 {
		return fmt.Errorf("logarithms of sums: %d values of %s; want %d of f32", logSum.N, logSum.Type, sums)
	}
	return nil
}

// chooseAttend returns the kernels on tensor cores for a shape, or nil if its rows are none for them: in f32, or not at
// multiples of 16 bytes.
func chooseAttend(s tensor.AttendShape, rows []headRows) *attendTiles {
	for _, r := range rows {
		if r.Type != tensor.BF16 || r.Addr%16 != 0 || r.Stride%8 != 0 || r.Step%8 != 0 || s.QKDim%8 != 0 || s.VDim%8 != 0 {
			return nil
		}
	}
	for i := range attendKernels {
		if t := &attendKernels[i]; s.QKDim <= t.qk && s.VDim <= t.v {
			return t
		}
	}
	return nil
}

// name is a kernel's name for these widths.
func (t *attendTiles) name(what string) string { return fmt.Sprintf("%s_%d_%d_bf16", what, t.qk, t.v) }

// sharedForward is the shared memory of a block in bytes: two for each value of its tiles.
func (t *attendTiles) sharedForward() int { return 2 * (t.queries*t.qk + t.keys*(t.qk+t.v)) }

// sharedBack is that of the backward kernels. Two steps are there at once, with two sums in f32 for each query if
// queries are what they have.
func (t *attendTiles) sharedBack() int {
	return 2*(t.backRows+2*t.backStep)*(t.qk+t.v) + 4*4*t.backStep
}

// sharedPlain is that of a kernel of attend_plain.cu with tiles of own rows qk and, if back, v wide.
func sharedPlain(s tensor.AttendShape, back bool) int {
	own := s.QKDim
	if back {
		own += s.VDim
	}
	return 4 * (attendPlainThreads*4 + attendPlainRows*own + attendPlainCols*(s.QKDim+s.VDim+2))
}

// attendGrid is a launch with a block for so many rows of each head of each sequence.
func attendGrid(s tensor.AttendShape, rows, heads, threads, shared int) dims {
	return dims{
		grid:   [3]uint32{uint32((s.Length + rows - 1) / rows), uint32(heads), uint32(s.Sequences)},
		block:  [3]uint32{uint32(threads)},
		shared: uint32(shared),
	}
}

// headArgs are the arguments that rows of heads are passed as.
func headArgs(rows ...tensor.Heads) []any {
	var args []any
	for _, r := range rows {
		args = append(args, r.Array, int32(r.Stride), int32(r.Step))
	}
	return args
}

// attendArgs are the last arguments of each kernel.
func attendArgs(s tensor.AttendShape) []any {
	return []any{int32(s.Length), int32(s.Heads), int32(s.Heads / s.KVHeads), int32(s.QKDim), int32(s.VDim), s.Scale}
}

// Attend is causal softmax attention. In bf16 it runs on tensor cores, with the probabilities rounded to bf16 and all
// sums in f32.
func (d *Device) Attend(a tensor.Attended, s tensor.AttendShape) {
	if s.Sequences*s.Length == 0 || d.Err() != nil {
		return
	}
	rows := forwardRows(a, s)
	if err := checkAttend(s, a.LogSum, rows); err != nil {
		d.fault(fmt.Errorf("attention: %w", err))
		return
	}
	t := chooseAttend(s, rows)
	args := append(append(headArgs(a.Q, a.K, a.V, a.Out), a.LogSum), attendArgs(s)...)
	if t == nil {
		on := attendGrid(s, attendPlainRows, s.Heads, attendPlainThreads, sharedPlain(s, false))
		d.launch("attend_plain_"+a.Q.Type.String(), on, args...)
		return
	}
	d.launch(t.name("attend"), attendGrid(s, t.queries, s.Heads, t.threads, t.sharedForward()), args...)
}

// AttendBack sets g.Q, g.K and g.V for g.Out. The heads that share one key and value head are taken in order.
func (d *Device) AttendBack(a tensor.Attended, g tensor.AttendGrads, s tensor.AttendShape) {
	if s.Sequences*s.Length == 0 || d.Err() != nil {
		return
	}
	rows := append(forwardRows(a, s), backRows(g, s)...)
	if err := checkAttend(s, a.LogSum, rows); err != nil {
		d.fault(fmt.Errorf("attention's derivative: %w", err))
		return
	}
	t := chooseAttend(s, rows)
	sums := s.Sequences * s.Heads * s.Length
	addr, done := d.scratch(4 * sums)
	defer done()
	delta := tensor.Array{Addr: addr, N: sums}
	of := append(headArgs(a.Out, g.Out), delta, int32(s.Sequences), int32(s.Length), int32(s.Heads), int32(s.VDim))
	d.launch("attend_delta_"+a.Q.Type.String(), line((sums+3)/4, 128), of...)

	given := append(headArgs(a.Q, a.K, a.V, g.Out), a.LogSum, delta)
	keys := append(append(given[:len(given):len(given)], headArgs(g.K, g.V)...), attendArgs(s)...)
	queries := append(append(given[:len(given):len(given)], headArgs(g.Q)...), attendArgs(s)...)
	if t == nil {
		name, shared := "plain_"+a.Q.Type.String(), sharedPlain(s, true)
		d.launch("attend_back_keys_"+name, attendGrid(s, attendPlainRows, s.KVHeads, attendPlainThreads, shared), keys...)
		d.launch("attend_back_queries_"+name, attendGrid(s, attendPlainRows, s.Heads, attendPlainThreads, shared), queries...)
		return
	}
	on := attendGrid(s, t.backRows, s.KVHeads, attendBackThreads, t.sharedBack())
	d.launch(t.name("attend_back_keys"), on, keys...)
	if t.split {
		d.launch(t.name("attend_back_values"), on, keys...)
	}
	on = attendGrid(s, t.backRows, s.Heads, attendBackThreads, t.sharedBack())
	d.launch(t.name("attend_back_queries"), on, queries...)
}
