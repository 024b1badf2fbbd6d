package model

import "math"

// angleTable holds the cosines and sines of rotary embedding: [length, half] for heads of 2*half.
type angleTable struct {
	half               int
	cos, sin, minusSin []float32
}

// angles returns the table for positions below length. Frequencies and angles are rounded to single
// precision where transformers rounds them, so that far positions agree with it.
func (m *Model) angles(length int) *angleTable {
	t := &m.state.angles
	if t.half = m.cfg.HeadDim / 2; len(t.cos) >= length*t.half {
		return t
	}
	n := length * t.half
	t.cos, t.sin, t.minusSin = make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range t.half {
		exponent := float64(float32(2*i) / float32(m.cfg.HeadDim))
		frequency := 1 / float32(math.Pow(m.cfg.RopeTheta, exponent))
		for pos := range length {
			sin, cos := math.Sincos(float64(float32(pos) * frequency))
			at := pos*t.half + i
			t.cos[at], t.sin[at], t.minusSin[at] = float32(cos), float32(sin), float32(-sin)
		}
	}
	return t
}

// rotate turns each head of each row by its position's angles; sin is t.sin or, for the
// inverse, t.minusSin.
func (t *angleTable) rotate(p *pass, x []float32, heads int, sin []float32) {
	p.dev.ForBlocks(p.rows, 16, func(from, to int) {
		for r := from; r < to; r++ {
			at := r % p.batch.Length * t.half
			for h := range heads {
				v := x[(r*heads+h)*2*t.half:][:2*t.half]
				p.dev.Rotate(v[:t.half], v[t.half:], t.cos[at:at+t.half], sin[at:at+t.half])
			}
		}
	})
}
