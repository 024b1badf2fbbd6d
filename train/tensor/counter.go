package tensor

// Counter is a device that computes nothing and only counts memory: what a run on a card of some precision will take is
// what the same program takes here. Values that are asked for are zeros. It is not safe for concurrent use.
type Counter struct {
	// Precision is that of the card.
	Precision Precision

	used   Usage
	acts   int64 // activations at present
	blocks map[uint64]block
	next   uint64
}

// Usage is memory in bytes, by what it is for.
type Usage struct {
	Weights   int64 // all, as they are computed with
	Masters   int64 // the other bits of trainable ones
	Gradients int64
	Moments   int64 // of the optimizer, on the card
	// MomentsHost and WeightsHost are those in the host's memory.
	MomentsHost, WeightsHost int64
	// Activations is the most that was in use at once besides; its present value is not kept.
	Activations int64
}

// Card is the sum of what must be on the card at once.
func (u Usage) Card() int64 { return u.Weights + u.Masters + u.Gradients + u.Moments + u.Activations }

// Host is the sum of what must be in the host's memory at once.
func (u Usage) Host() int64 { return u.WeightsHost + u.MomentsHost }

// block is memory that was taken, and of which sum.
type block struct {
	bytes int64
	sum   *int64
}

// NewCounter returns a device that counts.
func NewCounter(p Precision) *Counter {
	return &Counter{Precision: p, blocks: map[uint64]block{}, next: 1 << 20}
}

// Usage returns what was counted.
func (d *Counter) Usage() Usage { return d.used }

// keep counts a block that is kept for long, with its part of the pages that it lies in, and returns its address.
func (d *Counter) keep(bytes int, sum *int64) uint64 {
	size := KeptBytes(bytes)
	if size > PageBytes/2 {
		n := int64(BlocksTogether(size))
		size = roundUp64(n*size, PageBytes) / n
	}
	return d.take(size, sum)
}

// take counts a block.
func (d *Counter) take(size int64, sum *int64) uint64 {
	at := d.next
	d.next += uint64(size)
	d.blocks[at] = block{size, sum}
	*sum += size
	d.used.Activations = max(d.used.Activations, d.acts)
	return at
}

func (d *Counter) drop(at uint64) {
	b, ok := d.blocks[at]
	if !ok {
		return
	}
	*b.sum -= b.bytes
	delete(d.blocks, at)
}

func (d *Counter) array(t Type, n int, sum *int64) Array {
	if n == 0 {
		return Array{}
	}
	return Array{Addr: d.keep(n*t.Bytes(), sum), N: n, Type: t}
}

// Weight returns a weight of n values.
func (d *Counter) Weight(n int) Array { return d.array(d.Type(), n, &d.used.Weights) }

// WeightOnHost counts a weight of n values in the host's memory.
func (d *Counter) WeightOnHost(n int) { d.used.WeightsHost += int64(n * d.Type().Bytes()) }

// Name is not a device's that results come from.
func (d *Counter) Name() string { return "counter/" + string(d.Precision) }

// String is Name.
func (d *Counter) String() string { return d.Name() }

// Err is nil.
func (d *Counter) Err() error { return nil }

// Sync is nil.
func (d *Counter) Sync() error { return nil }

// For calls do(i) once for each i in [0, n), in order.
func (d *Counter) For(n int, do func(i int)) {
	for i := range n {
		do(i)
	}
}

// Type is that of the precision.
func (d *Counter) Type() Type { return d.Precision.Type() }

// Alloc counts activations.
func (d *Counter) Alloc(t Type, n int) Array { return d.array(t, n, &d.acts) }

// Free counts memory as given back.
func (d *Counter) Free(arrays ...Array) {
	for _, a := range arrays {
		d.drop(a.Addr)
	}
}

// Borrow counts activations, in blocks of the sizes that a card's memory is lent in: eight between powers of two.
func (d *Counter) Borrow(t Type, n int) Array {
	return Array{Addr: d.lend(n * t.Bytes()), N: n, Type: t}
}

// lend counts a block that is lent.
func (d *Counter) lend(bytes int) uint64 { return d.take(LentBytes(bytes), &d.acts) }

// borrowed counts what an operation borrows while it runs.
func (d *Counter) borrowed(bytes int) { d.drop(d.lend(bytes)) }

// Return counts memory as given back.
func (d *Counter) Return(arrays ...Array) { d.Free(arrays...) }

// Grow counts what a grows by.
func (d *Counter) Grow(a *Array, t Type, n int) {
	if d.room(a.Addr) < n*t.Bytes() {
		d.drop(a.Addr)
		a.Addr = d.lend(n * t.Bytes())
	}
	a.N, a.Type = n, t
}

func (d *Counter) room(at uint64) int { return int(d.blocks[at].bytes) }

// GrowInts counts what a grows by.
func (d *Counter) GrowInts(a *Ints, n int) {
	if d.room(a.Addr) < 4*n {
		d.drop(a.Addr)
		a.Addr = d.lend(4 * n)
	}
	a.N = n
}

// GrowDoubles counts what a grows by.
func (d *Counter) GrowDoubles(a *Doubles, n int) {
	if d.room(a.Addr) < 8*n {
		d.drop(a.Addr)
		a.Addr = d.lend(8 * n)
	}
	a.N = n
}

// Load counts a weight.
func (d *Counter) Load(values []float32) Array { return d.Weight(len(values)) }

// Train counts a gradient and, in BF16, the rest of a master.
func (d *Counter) Train(w *Weight) {
	if w.Grad.None() {
		w.Grad = d.array(F32, w.Data.N, &d.used.Gradients)
	}
	if d.Type() == BF16 && w.Low.None() {
		w.Low = d.array(BF16, w.Data.N, &d.used.Masters)
	}
}

// Freeze counts them as given back.
func (d *Counter) Freeze(w *Weight) {
	d.Free(w.Grad, w.Low)
	w.Grad, w.Low = Array{}, Array{}
}

// Master returns zeros.
func (d *Counter) Master(w Weight) []float32 { return make([]float32, w.Data.N) }

// Moments counts them.
func (d *Counter) Moments(n int) Moments {
	bytes, host := d.Precision.MomentBytes(n)
	one := func() Array { return Array{Addr: d.keep(bytes/2, &d.used.Moments), N: n} }
	if host {
		one = func() Array { return Array{Addr: d.take(KeptBytes(bytes/2), &d.used.MomentsHost), N: n} }
	}
	return Moments{First: one(), Second: one()}
}

// FreeMoments counts them as given back.
func (d *Counter) FreeMoments(moments ...Moments) {
	for _, m := range moments {
		d.Free(m.First, m.Second)
	}
}

// ReadMoments returns zeros.
func (d *Counter) ReadMoments(m Moments) (first, second []float32) {
	return make([]float32, m.First.N), make([]float32, m.First.N)
}

// SumSquares returns zeros.
func (d *Counter) SumSquares(arrays ...Array) []float64 { return make([]float64, len(arrays)) }

// BalanceCount returns zeros.
func (d *Counter) BalanceCount(r *Routing, _ int, _ Ints) (chosen, probable []float64) {
	return make([]float64, r.Experts), make([]float64, r.Experts)
}

var _ Device = (*Counter)(nil)
