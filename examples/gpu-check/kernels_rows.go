package main

import (
	"encoding/binary"
	"slices"

	"bzdata/train/tensor"
)

// transfers copies values there and back, and between types.
func transfers(b bench, s shape, _ tensor.Device) {
	n := s.rows() * s.hidden
	x := b.acts(1, n)
	b.gives("Upload", x)
	raw := newStream("raw", 1, 1).halves(n)
	stored, y, z := b.zeros(tensor.BF16, n), b.zeros(b.typ, n), b.zeros(tensor.F32, n)
	b.UploadBF16(stored, raw)
	b.gives("UploadBF16", stored)
	b.Copy(z, x)
	b.gives("Copy", z)
	b.Copy(y, b.wide(2, n))
	b.gives("Copy", y)
	b.Clear(y)
	b.gives("Clear", y)
	whole := make([]int32, s.rows())
	for i := range whole {
		whole[i] = int32(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	b.left("UploadInts", b.readInts(b.ints(whole)))
	b.left("SumSquares", narrow(b.SumSquares(b.wide(3, n), tensor.Array{}, b.wide(4, 1))))
}

// products are those of a projection: forward, its input's derivative and its weight's, and the logits.
func products(b bench, s shape, _ tensor.Device) {
	rows, in, out := s.rows(), s.hidden, s.heads*s.qk()
	x, w := b.acts(1, rows*in), b.scaled(b.typ, 2, out*in, 0.02)
	y := b.acts(3, rows*out)
	b.Gemm(rows, out, in, tensor.Rows(x, in), tensor.Rows(w, in).T(), y, out, false)
	b.gives("Gemm", y)
	b.Gemm(rows, out, in, tensor.Rows(x, in), tensor.Rows(w, in).T(), y, out, true)
	b.gives("Gemm", y)
	dy, dx, dw := b.acts(4, rows*out), b.zeros(b.typ, rows*in), b.wide(5, out*in)
	b.Gemm(rows, in, out, tensor.Rows(dy, out), tensor.Rows(w, in), dx, in, false)
	b.Gemm(out, in, rows, tensor.Rows(dy, out).T(), tensor.Rows(x, in), dw, in, true)
	b.gives("Gemm", dx, dw)
	head, logits := b.scaled(b.typ, 6, s.vocab*in, 0.02), b.zeros(tensor.F32, s.logits*s.vocab)
	few := x.Part(0, min(rows, s.logits)*in)
	n := few.N / in
	b.Gemm(n, s.vocab, in, tensor.Rows(few, in), tensor.Rows(head, in).T(), logits, s.vocab, false)
	b.gives("Gemm", logits.Part(0, n*s.vocab))
	back := b.zeros(b.typ, n*in)
	b.Gemm(n, in, s.vocab, tensor.Rows(logits, s.vocab), tensor.Rows(head, in), back, in, false)
	b.gives("Gemm", back)
}

// elements are operations on single values and on rows of a bias.
func elements(b bench, s shape, _ tensor.Device) {
	n := s.rows() * s.hidden
	x, y := b.acts(1, n), b.acts(2, n)
	b.Add(y, x, 0.5)
	b.gives("Add", y)
	b.AddRow(y, b.acts(3, s.hidden))
	b.gives("AddRow", y)
	row := b.wide(4, s.hidden)
	b.SumRows(row, x)
	b.gives("SumRows", row)
	gate, up, act := b.acts(5, n), b.acts(6, n), b.zeros(b.typ, n)
	b.SwiGLU(act, gate, up)
	b.gives("SwiGLU", act)
	b.SwiGLUBack(b.acts(7, n), gate, up)
	b.gives("SwiGLUBack", gate, up)
}

// norms are those of rows, of the model's width and of the latent's.
func norms(b bench, s shape, _ tensor.Device) {
	for _, width := range []int{s.hidden, s.rank} {
		n := s.rows() * width
		x, w, y, inverse := b.acts(1, n), b.acts(2, width), b.zeros(b.typ, n), b.zeros(tensor.F32, s.rows())
		b.RMSNorm(y, inverse, x, w, 1e-6)
		b.gives("RMSNorm", y, inverse)
		dx, dw := b.acts(3, n), b.wide(4, width)
		b.RMSNormBack(dx, dw, b.acts(5, n), x, w, inverse)
		b.gives("RMSNormBack", dx, dw)
	}
}

// tables are rows that are taken from others and put back.
func tables(b bench, s shape, _ tensor.Device) {
	rows, width := s.rows(), s.hidden
	tokens := make([]int32, rows)
	for i := range tokens {
		tokens[i] = int32(mix(uint64(i)) % uint64(min(s.vocab, 1+rows/2)))
	}
	at, table := b.ints(tokens), b.acts(1, s.vocab*width)
	y, grad := b.zeros(b.typ, rows*width), b.wide(2, s.vocab*width)
	b.Embed(y, table, at, width)
	b.gives("Embed", y)
	b.EmbedBack(grad, b.acts(3, rows*width), at, width)
	b.gives("EmbedBack", grad)
	some := make([]int32, (rows+1)/2)
	for i := range some {
		some[i] = int32(rows - 1 - 2*i)
	}
	few, back := b.zeros(b.typ, len(some)*width), b.acts(4, rows*width)
	b.GatherRows(few, y, b.ints(some), width)
	b.gives("GatherRows", few)
	b.ScatterRows(back, few, b.ints(some), width)
	b.gives("ScatterRows", back)
}

// columns are the latent's part of what is projected.
func columns(b bench, s shape, _ tensor.Device) {
	wide := s.rank + s.rope
	dst := b.zeros(b.typ, s.rows()*s.rank)
	b.CopyColumns(dst, s.rank, b.acts(1, s.rows()*wide), wide, s.rank, s.rows())
	b.gives("CopyColumns", dst)
}

// losses are those of the head.
func losses(b bench, s shape, _ tensor.Device) {
	targets := make([]int32, s.logits)
	for i := range targets {
		targets[i] = int32(mix(uint64(i)) % uint64(s.vocab))
	}
	for _, grad := range []float32{0, 0.25} {
		logits, nats := b.scaled(tensor.F32, 1, s.logits*s.vocab, 3), b.doubles(s.logits)
		b.CrossEntropy(logits, b.ints(targets), s.vocab, grad, nats)
		b.left("CrossEntropy", b.readDoubles(nats))
		if grad != 0 {
			b.gives("CrossEntropy", logits)
		}
	}
}

// optimizer makes three updates of an expert's matrix; what is compared is the way that the master goes, in
// learning rates.
func optimizer(b bench, s shape, _ tensor.Device) {
	n := s.hidden * s.width
	start := draw(1, n, 0.02)
	w := tensor.Weight{Data: b.Load(make([]float32, n))}
	b.Train(&w)
	b.SetMaster(&w, start)
	m := b.Moments(n)
	rule := tensor.AdamW{LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, GradScale: 0.7}
	mean := draw(2, n, 1)
	for step := 1; step <= 3; step++ {
		grad := draw(2+step, n, 1)
		for i := range grad {
			grad[i] += mean[i]
		}
		b.Upload(w.Grad, grad)
		b.AdamW(rule, step, &w, m)
	}
	way := make([]float32, n)
	for i, v := range b.Master(w) {
		way[i] = (v - start[i]) / float32(rule.LearningRate)
	}
	b.left("AdamW", way)
	first, second := b.ReadMoments(m)
	b.left("ReadMoments", slices.Clone(first), slices.Clone(second))
	b.SetMoments(m, second, second)
	first, _ = b.ReadMoments(m)
	b.left("SetMoments", first)
	b.Freeze(&w)
	b.FreeMoments(m)
	b.Free(w.Data)
}
