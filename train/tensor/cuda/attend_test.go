package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"bzdata/train/tensor"
)

// attendCase is a shape of attention. Rows are gap values longer than their heads; values are parts of wider heads of
// keys and values, as in latent attention, if latent.
type attendCase struct {
	sequences, length, heads, kvHeads, qk, v int
	gap                                      int
	latent                                   bool
}

func (c attendCase) String() string {
	return fmt.Sprintf("%d sequences of %d, %d/%d heads of %d and %d, gap %d, latent %v", c.sequences, c.length, c.heads,
		c.kvHeads, c.qk, c.v, c.gap, c.latent)
}

var attendCases = []attendCase{
	{sequences: 1, length: 1, heads: 1, kvHeads: 1, qk: 8, v: 8, gap: 8},
	{sequences: 3, length: 5, heads: 2, kvHeads: 1, qk: 12, v: 12},
	{sequences: 2, length: 65, heads: 4, kvHeads: 1, qk: 24, v: 16, gap: 8},
	{sequences: 1, length: 64, heads: 2, kvHeads: 2, qk: 24, v: 40, latent: true},
	{sequences: 1, length: 130, heads: 4, kvHeads: 2, qk: 40, v: 40, gap: 3},
	{sequences: 1, length: 300, heads: 2, kvHeads: 1, qk: 64, v: 64},
	{sequences: 2, length: 67, heads: 2, kvHeads: 1, qk: 96, v: 128},
	{sequences: 1, length: 200, heads: 1, kvHeads: 1, qk: 128, v: 128},
	{sequences: 1, length: 200, heads: 2, kvHeads: 1, qk: 192, v: 128},
	{sequences: 1, length: 130, heads: 2, kvHeads: 2, qk: 192, v: 128, latent: true},
	{sequences: 1, length: 70, heads: 2, kvHeads: 1, qk: 256, v: 256},
	{sequences: 1, length: 33, heads: 1, kvHeads: 1, qk: 200, v: 144},
}

// untouched fills rows before they are written, so that a value between them that is overwritten shows.
const untouched = 0.125

func TestAttend(t *testing.T) {
	for _, c := range attendCases {
		t.Run(c.String(), func(t *testing.T) { compareTypes(t, "attention", c.run) })
	}
}

func (c attendCase) shape() tensor.AttendShape {
	return tensor.AttendShape{Sequences: c.sequences, Length: c.length, Heads: c.heads, KVHeads: c.kvHeads, QKDim: c.qk,
		VDim: c.v, Scale: float32(1 / math.Sqrt(float64(c.qk)))}
}

// valueRows are where values begin in a row of keys and values, and the width of a head of both.
func (c attendCase) valueRows() (at, step int) {
	if !c.latent {
		return 0, c.v
	}
	return c.qk / 3 &^ 7, c.qk/3&^7 + c.v
}

// rows makes rows of heads, which begin at a value and are step apart.
func (c attendCase) rows(r trial, heads, at, step int, value func() float32) tensor.Heads {
	stride := heads*step + c.gap
	values := make([]float32, c.sequences*c.length*stride)
	for i := range values {
		values[i] = value()
	}
	return tensor.Heads{Array: r.acts(values).From(at), Stride: stride, Step: step}
}

// inputs makes rows and the place for results.
func (c attendCase) inputs(r trial, rng *rand.Rand) tensor.Attended {
	random, same := gaussian(rng, 1), func() float32 { return untouched }
	at, step := c.valueRows()
	return tensor.Attended{
		Q: c.rows(r, c.heads, 0, c.qk, random), K: c.rows(r, c.kvHeads, 0, c.qk, random),
		V: c.rows(r, c.kvHeads, at, step, random), Out: c.rows(r, c.heads, 0, c.v, same),
		LogSum: r.wide(make([]float32, c.sequences*c.heads*c.length)),
	}
}

// normal draws values of a standard deviation.
func gaussian(rng *rand.Rand, deviation float64) func() float32 {
	return func() float32 { return float32(rng.NormFloat64() * deviation) }
}

func (c attendCase) run(r trial) [][]float32 {
	s := c.shape()
	a := c.inputs(r, rand.New(rand.NewPCG(1, 2)))
	r.Attend(a, s)
	results := [][]float32{r.read(a.Out.Array), r.read(a.LogSum)}

	// The derivative is taken at what the plain device computes.
	plain := newTrial(tensor.New(tensor.Plain(), 1), r.typ, 0)
	known := c.inputs(plain, rand.New(rand.NewPCG(1, 2)))
	plain.Attend(known, s)
	a.Out.Array, a.LogSum = r.acts(known.Out.Host), r.wide(known.LogSum.Host)

	same := func() float32 { return untouched }
	at, step := c.valueRows()
	d := tensor.AttendGrads{
		Q: c.rows(r, c.heads, 0, c.qk, same), K: c.rows(r, c.kvHeads, 0, c.qk, same),
		V: c.rows(r, c.kvHeads, at, step, same), Out: c.rows(r, c.heads, 0, c.v, gaussian(rand.New(rand.NewPCG(3, 4)), 1)),
	}
	r.AttendBack(a, d, s)
	return append(results, r.read(d.Q.Array), r.read(d.K.Array), r.read(d.V.Array))
}

// TestAttendRefuses gives operands that do not fit, which would make a kernel write where it must not.
func TestAttendRefuses(t *testing.T) {
	d := newFake(t, tensor.BF16)
	r := newTrial(d, tensor.BF16, 0)
	fine := attendCase{sequences: 1, length: 2, heads: 2, kvHeads: 1, qk: 16, v: 8}
	wide := fine
	wide.qk = 264
	type operands struct {
		tensor.Attended
		tensor.AttendShape
	}
	for want, c := range map[string]struct {
		attendCase
		change func(o *operands)
	}{
		"heads of 264 and 8 values are wider than the kernels take, which is 256": {wide, func(*operands) {}},
		"2 heads cannot share 3 heads of keys and values":                         {fine, func(o *operands) { o.KVHeads = 3 }},
		"keys: 31 values of bf16; want 32 of bf16":                                {fine, func(o *operands) { o.K.Array = o.K.From(1) }},
		"outputs: 32 values of f32; want 32 of bf16":                              {fine, func(o *operands) { o.Out.Type = tensor.F32 }},
		"logarithms of sums: 3 values of f32; want 4":                             {fine, func(o *operands) { o.LogSum = o.LogSum.From(1) }},
	} {
		o := operands{c.inputs(r, rand.New(rand.NewPCG(1, 2))), c.shape()}
		c.change(&o)
		a, s := o.Attended, o.AttendShape
		d.Attend(a, s)
		wantFault(t, d, "attention: "+want)
		d.AttendBack(a, tensor.AttendGrads{Q: a.Q, K: a.K, V: a.V, Out: a.Out}, s)
		wantFault(t, d, "attention's derivative: "+want)
	}
	none := fine.shape()
	none.Sequences = 0
	d.Attend(tensor.Attended{}, none)
	d.AttendBack(tensor.Attended{}, tensor.AttendGrads{}, none)
}

// TestAttendShared holds the kernels' shared memory against the smallest that a supported card has.
func TestAttendShared(t *testing.T) {
	const smallest = 99 << 10
	for _, k := range attendKernels {
		if got := max(k.sharedForward(), k.sharedBack()); got > smallest {
			t.Errorf("heads of %d and %d values need %d bytes of shared memory, more than %d", k.qk, k.v, got, smallest)
		}
	}
	wide := tensor.AttendShape{QKDim: attendWidest, VDim: attendWidest}
	if got := max(sharedPlain(wide, false), sharedPlain(wide, true)); got > smallest {
		t.Errorf("plain heads of %d values need %d bytes of shared memory, more than %d", attendWidest, got, smallest)
	}
}
