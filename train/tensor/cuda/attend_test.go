package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// attendCase is a shape of attention. Rows are gap values longer than their heads; values are parts of wider heads of
// keys and values, as in latent attention, if latent.
type attendCase struct {
	sequences, length, heads, kvHeads, qk, v int
	gap                                      int
	latent                                   bool
	types                                    []tensor.Type
}

func (c attendCase) String() string {
	return fmt.Sprintf("%dx%d of %d/%d heads %d,%d gap %d latent %v", c.sequences, c.length, c.heads, c.kvHeads, c.qk, c.v,
		c.gap, c.latent)
}

var bothTypes, halfOnly = []tensor.Type{tensor.F32, tensor.BF16}, []tensor.Type{tensor.BF16}

var attendCases = []attendCase{
	{sequences: 1, length: 1, heads: 1, kvHeads: 1, qk: 8, v: 8, types: bothTypes},
	{sequences: 3, length: 5, heads: 2, kvHeads: 1, qk: 12, v: 12, types: bothTypes},
	{sequences: 2, length: 65, heads: 4, kvHeads: 1, qk: 24, v: 16, gap: 8, types: bothTypes},
	{sequences: 1, length: 64, heads: 2, kvHeads: 2, qk: 24, v: 40, latent: true, types: bothTypes},
	{sequences: 1, length: 130, heads: 2, kvHeads: 1, qk: 40, v: 40, gap: 3, types: bothTypes},
	{sequences: 1, length: 130, heads: 2, kvHeads: 1, qk: 64, v: 64, types: halfOnly},
	{sequences: 2, length: 67, heads: 2, kvHeads: 1, qk: 96, v: 128, types: halfOnly},
	{sequences: 1, length: 140, heads: 1, kvHeads: 1, qk: 128, v: 128, types: halfOnly},
	{sequences: 1, length: 130, heads: 1, kvHeads: 1, qk: 192, v: 128, latent: true, types: bothTypes},
	{sequences: 1, length: 70, heads: 2, kvHeads: 1, qk: 256, v: 256, types: bothTypes},
	{sequences: 1, length: 33, heads: 1, kvHeads: 1, qk: 200, v: 144, types: halfOnly},
}

// untouched fills rows before they are written, to see that what lies between them stays.
const untouched = 7

// rowsPair are rows of heads on the card, and the same values on the processor.
type rowsPair struct {
	whole      tensor.Array // on the card
	card, host tensor.Heads
	heads, dim int
}

// attendRows makes rows of heads. Their values begin at the given one of a head of step values.
func (c attendCase) attendRows(t *testing.T, d *Device, values func() float32, heads, dim, at, step int) rowsPair {
	stride := heads*step + c.gap
	all := make([]float32, c.sequences*c.length*stride)
	for i := range all {
		all[i] = values()
	}
	card, all := put(t, d, d.Type(), all)
	p := rowsPair{whole: card, heads: heads, dim: dim}
	p.card = tensor.Heads{Array: card.From(at), Stride: stride, Step: step}
	p.host = tensor.Heads{Array: tensor.Of(all).From(at), Stride: stride, Step: step}
	return p
}

// outside returns an error if a value that belongs to no head is not what it was.
func (p rowsPair) outside(got []float32) error {
	for i, x := range got {
		if in := i % p.host.Stride; (in >= p.heads*p.host.Step || in%p.host.Step >= p.dim) && x != untouched {
			return fmt.Errorf("value %d, between the rows, was overwritten with %g", i, x)
		}
	}
	return nil
}

// check holds what the card has against the twin's result, up to a part of the greatest value.
func (p rowsPair) check(t *testing.T, d *Device, bound float64) error {
	got := get(t, d, p.card.Array)
	if p.host.Stride == p.heads*p.dim {
		return near(got, p.host.Host, bound)
	}
	if err := near(got, p.host.Host, bound); err != nil {
		return err
	}
	return p.outside(got)
}

// near returns an error if values, which are of the order of 1 unless they are 0, differ by more than a part of the greatest.
func near(got, want []float32, bound float64) error {
	top, worst, at := 0.01, 0.0, 0
	for i, w := range want {
		top = max(top, math.Abs(float64(w)))
		if diff := math.Abs(float64(got[i]) - float64(w)); !(diff <= worst) {
			worst, at = diff, i
		}
	}
	if !(worst <= bound*top) {
		return fmt.Errorf("value %d is %g, want %g; the greatest is %g", at, got[at], want[at], top)
	}
	return nil
}

func expect(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAttend(t *testing.T) {
	for _, typ := range bothTypes {
		d := newFake(t, typ)
		for i, c := range attendCases {
			if !slices.Contains(c.types, typ) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", typ, c), func(t *testing.T) { c.run(t, d, rand.New(rand.NewPCG(1, uint64(i)))) })
		}
	}
}

// bounds of the error, as a part of the greatest value. In bf16 the probabilities are rounded, too.
func attendBound(typ tensor.Type) float64 {
	if typ == tensor.BF16 {
		return 1e-2
	}
	return 2e-5
}

func (c attendCase) run(t *testing.T, d *Device, rng *rand.Rand) {
	values := func() float32 { return float32(rng.NormFloat64()) }
	same := func() float32 { return untouched }
	s := tensor.AttendShape{Sequences: c.sequences, Length: c.length, Heads: c.heads, KVHeads: c.kvHeads, QKDim: c.qk,
		VDim: c.v, Scale: float32(1 / math.Sqrt(float64(c.qk)))}
	vAt, vStep := 0, c.v
	if c.latent {
		vAt, vStep = c.qk/3&^7, c.qk/3&^7+c.v
	}
	q, k := c.attendRows(t, d, values, c.heads, c.qk, 0, c.qk), c.attendRows(t, d, values, c.kvHeads, c.qk, 0, c.qk)
	v, out := c.attendRows(t, d, values, c.kvHeads, c.v, vAt, vStep), c.attendRows(t, d, same, c.heads, c.v, 0, c.v)
	sums := d.Alloc(tensor.F32, c.sequences*c.heads*c.length)
	card := tensor.Attended{Q: q.card, K: k.card, V: v.card, Out: out.card, LogSum: sums}
	host := tensor.Attended{Q: q.host, K: k.host, V: v.host, Out: out.host, LogSum: tensor.Of(make([]float32, sums.N))}
	d.Attend(card, s)
	twin := tensor.New(tensor.Plain(), 1)
	twin.Attend(host, s)
	bound := attendBound(d.Type())
	expect(t, "output", out.check(t, d, bound))
	got := get(t, d, sums)
	expect(t, "logarithms of sums", near(got, host.LogSum.Host, 1e-5))

	// The derivative is that of what the card computed.
	copy(host.LogSum.Host, got)
	copy(out.host.Host, get(t, d, out.card.Array))
	dOut := c.attendRows(t, d, values, c.heads, c.v, 0, c.v)
	dq, dk := c.attendRows(t, d, same, c.heads, c.qk, 0, c.qk), c.attendRows(t, d, same, c.kvHeads, c.qk, 0, c.qk)
	dv := c.attendRows(t, d, same, c.kvHeads, c.v, vAt, vStep)
	d.AttendBack(card, tensor.AttendGrads{Q: dq.card, K: dk.card, V: dv.card, Out: dOut.card}, s)
	twin.AttendBack(host, tensor.AttendGrads{Q: dq.host, K: dk.host, V: dv.host, Out: dOut.host}, s)
	expect(t, "queries' derivative", dq.check(t, d, bound))
	expect(t, "keys' derivative", dk.check(t, d, bound))
	expect(t, "values' derivative", dv.check(t, d, bound))
	d.Free(sums)
	for _, p := range []rowsPair{q, k, v, out, dOut, dq, dk, dv} {
		d.Free(p.whole)
	}
}
