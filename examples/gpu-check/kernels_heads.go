package main

import (
	"math"

	"bzdata/train/tensor"
)

// heads are the rotated parts of the heads of rows of queries.
func (s shape) rotated(rows tensor.Array) tensor.Heads {
	return tensor.Heads{Array: rows.From(s.nope), Stride: s.heads * s.qk(), Step: s.qk()}
}

// latent is the shape of keys that are joined.
func (s shape) latent() tensor.LatentShape {
	return tensor.LatentShape{Rows: s.rows(), Heads: s.heads, Nope: s.nope, Rope: s.rope, V: s.v}
}

// rotations turn and order the rotated parts of queries.
func rotations(b bench, s shape, _ tensor.Device) {
	half := s.rope / 2
	cos, sin := make([]float32, s.length*half), make([]float32, s.length*half)
	for i := range cos {
		angle := float64(i/half) * math.Pow(10000, -float64(i%half)/float64(half))
		cos[i], sin[i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	q := b.acts(1, s.rows()*s.heads*s.qk())
	b.Deinterleave(s.rotated(q), s.rows(), s.heads, s.rope)
	b.gives("Deinterleave", q)
	b.Rotate(s.rotated(q), s.rows(), s.heads, half, s.length, b.array(tensor.F32, cos), b.array(tensor.F32, sin))
	b.gives("Rotate", q)
	b.Interleave(s.rotated(q), s.rows(), s.heads, s.rope)
	b.gives("Interleave", q)
}

// latentKeys joins keys and splits their derivative.
func latentKeys(b bench, s shape, _ tensor.Device) {
	l, wide := s.latent(), s.rank+s.rope
	kv, a, k := b.acts(1, l.Rows*l.Heads*l.KV()), b.acts(2, l.Rows*wide), b.zeros(b.typ, l.Rows*l.Heads*l.QK())
	b.JoinKeys(k, kv, tensor.Heads{Array: a.From(s.rank), Stride: wide}, l)
	b.gives("JoinKeys", k)
	dKV, dA := b.acts(3, kv.N), b.acts(4, a.N)
	b.SplitKeys(dKV, tensor.Heads{Array: dA.From(s.rank), Stride: wide}, b.acts(5, k.N), l)
	b.gives("SplitKeys", dKV, dA)
}

// attention is that of latent heads, whose values lie between keys, and that of heads which share keys and values.
func attention(b bench, s shape, host tensor.Device) {
	grouped := tensor.AttendShape{Sequences: s.sequences, Length: s.length, Heads: s.heads, KVHeads: s.kvHeads, QKDim: s.v,
		VDim: s.v, Scale: float32(1 / math.Sqrt(float64(s.v)))}
	if s.kvHeads == s.heads && s.heads%4 == 0 {
		grouped.KVHeads = s.heads / 4
	}
	latent := grouped
	latent.QKDim, latent.KVHeads = s.qk(), s.heads
	latent.Scale = float32(1 / math.Sqrt(float64(s.qk())))
	attendTo(b, latent, s.nope, host)
	attendTo(b, grouped, 0, host)
}

// attendTo has heads of values after gap others.
func attendTo(b bench, s tensor.AttendShape, gap int, host tensor.Device) {
	a := attended(b, s, gap)
	b.Attend(a, s)
	b.gives("Attend", a.Out.Array, a.LogSum)
	known := newBench(host, b.typ)
	at := attended(known, s, gap)
	known.Attend(at, s)
	a.Out.Array, a.LogSum = b.array(b.typ, at.Out.Host), b.array(tensor.F32, at.LogSum.Host)
	zero := func(h tensor.Heads) tensor.Heads {
		h.Array = b.zeros(b.typ, h.N)
		return h
	}
	d := tensor.AttendGrads{Q: zero(a.Q), K: zero(a.K), V: zero(a.V),
		Out: tensor.PackedHeads(b.acts(9, a.Out.N), s.Heads, s.VDim)}
	b.AttendBack(a, d, s)
	b.gives("AttendBack", d.Q.Array, d.K.Array, d.V.Array)
}

func attended(b bench, s tensor.AttendShape, gap int) tensor.Attended {
	rows, step := s.Sequences*s.Length, gap+s.VDim
	kv := b.acts(3, rows*s.KVHeads*step)
	return tensor.Attended{
		Q:      tensor.PackedHeads(b.acts(1, rows*s.Heads*s.QKDim), s.Heads, s.QKDim),
		K:      tensor.PackedHeads(b.acts(2, rows*s.KVHeads*s.QKDim), s.KVHeads, s.QKDim),
		V:      tensor.Heads{Array: kv.From(gap), Stride: s.KVHeads * step, Step: step},
		Out:    tensor.PackedHeads(b.zeros(b.typ, rows*s.Heads*s.VDim), s.Heads, s.VDim),
		LogSum: b.zeros(tensor.F32, rows*s.Heads),
	}
}
