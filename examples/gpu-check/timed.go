package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"bzdata/train/tensor"
)

// timed is a device that, while it is on, waits for each operation and adds up the times by operation. Waiting takes some
// of the time that operations overlap, so that the sum is more than an undisturbed step's time.
type timed struct {
	tensor.Device
	on    bool
	times map[string]*operation
}

// operation is what one operation has taken.
type operation struct {
	name  string
	calls int
	took  time.Duration
}

func newTimed(d tensor.Device) *timed { return &timed{Device: d, times: map[string]*operation{}} }

// time runs an operation. A fault stays the device's, which says so itself.
func (t *timed) time(name string, do func()) {
	if !t.on {
		do()
		return
	}
	began := time.Now()
	do()
	_ = t.Sync()
	o := t.times[name]
	if o == nil {
		o = &operation{name: name}
		t.times[name] = o
	}
	o.calls++
	o.took += time.Since(began)
}

// sorted are the operations, those that took the most time first.
func (t *timed) sorted() []*operation {
	return slices.SortedFunc(maps.Values(t.times), func(a, b *operation) int {
		return cmp.Or(cmp.Compare(b.took, a.took), cmp.Compare(a.name, b.name))
	})
}

// Gemm is timed by its shape.
func (t *timed) Gemm(m, n, k int, a, b tensor.Matrix, c tensor.Array, ldc int, add bool) {
	t.time(fmt.Sprintf("Gemm %dx%dx%d", m, n, k), func() { t.Device.Gemm(m, n, k, a, b, c, ldc, add) })
}

// Upload is timed.
func (t *timed) Upload(dst tensor.Array, src []float32) {
	t.time("Upload", func() { t.Device.Upload(dst, src) })
}

// Download is timed.
func (t *timed) Download(dst []float32, src tensor.Array) {
	t.time("Download", func() { t.Device.Download(dst, src) })
}

// UploadBF16 is timed.
func (t *timed) UploadBF16(dst tensor.Array, raw []byte) {
	t.time("UploadBF16", func() { t.Device.UploadBF16(dst, raw) })
}

// UploadInts is timed.
func (t *timed) UploadInts(dst tensor.Ints, src []int32) {
	t.time("UploadInts", func() { t.Device.UploadInts(dst, src) })
}

// DownloadInts is timed.
func (t *timed) DownloadInts(dst []int32, src tensor.Ints) {
	t.time("DownloadInts", func() { t.Device.DownloadInts(dst, src) })
}

// DownloadDoubles is timed.
func (t *timed) DownloadDoubles(dst []float64, src tensor.Doubles) {
	t.time("DownloadDoubles", func() { t.Device.DownloadDoubles(dst, src) })
}

// Clear is timed.
func (t *timed) Clear(a tensor.Array) {
	t.time("Clear", func() { t.Device.Clear(a) })
}

// Copy is timed.
func (t *timed) Copy(dst, src tensor.Array) {
	t.time("Copy", func() { t.Device.Copy(dst, src) })
}

// Load is timed.
func (t *timed) Load(values []float32) (out tensor.Array) {
	t.time("Load", func() { out = t.Device.Load(values) })
	return out
}

// Train is timed.
func (t *timed) Train(w *tensor.Weight) {
	t.time("Train", func() { t.Device.Train(w) })
}

// Freeze is timed.
func (t *timed) Freeze(w *tensor.Weight) {
	t.time("Freeze", func() { t.Device.Freeze(w) })
}

// Master is timed.
func (t *timed) Master(w tensor.Weight) (out []float32) {
	t.time("Master", func() { out = t.Device.Master(w) })
	return out
}

// SetMaster is timed.
func (t *timed) SetMaster(w *tensor.Weight, values []float32) {
	t.time("SetMaster", func() { t.Device.SetMaster(w, values) })
}

// AddRow is timed.
func (t *timed) AddRow(y, row tensor.Array) {
	t.time("AddRow", func() { t.Device.AddRow(y, row) })
}

// SumRows is timed.
func (t *timed) SumRows(row, y tensor.Array) {
	t.time("SumRows", func() { t.Device.SumRows(row, y) })
}

// Add is timed.
func (t *timed) Add(dst, x tensor.Array, a float32) {
	t.time("Add", func() { t.Device.Add(dst, x, a) })
}

// RMSNorm is timed.
func (t *timed) RMSNorm(y, inverse, x, w tensor.Array, epsilon float64) {
	t.time("RMSNorm", func() { t.Device.RMSNorm(y, inverse, x, w, epsilon) })
}

// RMSNormBack is timed.
func (t *timed) RMSNormBack(dx, dw, dy, x, w, inverse tensor.Array) {
	t.time("RMSNormBack", func() { t.Device.RMSNormBack(dx, dw, dy, x, w, inverse) })
}

// SwiGLU is timed.
func (t *timed) SwiGLU(dst, gate, up tensor.Array) {
	t.time("SwiGLU", func() { t.Device.SwiGLU(dst, gate, up) })
}

// SwiGLUBack is timed.
func (t *timed) SwiGLUBack(grad, gate, up tensor.Array) {
	t.time("SwiGLUBack", func() { t.Device.SwiGLUBack(grad, gate, up) })
}

// Embed is timed.
func (t *timed) Embed(y, table tensor.Array, tokens tensor.Ints, width int) {
	t.time("Embed", func() { t.Device.Embed(y, table, tokens, width) })
}

// EmbedBack is timed.
func (t *timed) EmbedBack(grad, dy tensor.Array, tokens tensor.Ints, width int) {
	t.time("EmbedBack", func() { t.Device.EmbedBack(grad, dy, tokens, width) })
}

// GatherRows is timed.
func (t *timed) GatherRows(dst, src tensor.Array, ids tensor.Ints, width int) {
	t.time("GatherRows", func() { t.Device.GatherRows(dst, src, ids, width) })
}

// ScatterRows is timed.
func (t *timed) ScatterRows(dst, src tensor.Array, ids tensor.Ints, width int) {
	t.time("ScatterRows", func() { t.Device.ScatterRows(dst, src, ids, width) })
}

// CopyColumns is timed.
func (t *timed) CopyColumns(dst tensor.Array, dstStride int, src tensor.Array, srcStride, n, rows int) {
	t.time("CopyColumns", func() { t.Device.CopyColumns(dst, dstStride, src, srcStride, n, rows) })
}

// Rotate is timed.
func (t *timed) Rotate(x tensor.Heads, rows, heads, half, length int, cos, sin tensor.Array) {
	t.time("Rotate", func() { t.Device.Rotate(x, rows, heads, half, length, cos, sin) })
}

// Deinterleave is timed.
func (t *timed) Deinterleave(x tensor.Heads, rows, heads, dim int) {
	t.time("Deinterleave", func() { t.Device.Deinterleave(x, rows, heads, dim) })
}

// Interleave is timed.
func (t *timed) Interleave(x tensor.Heads, rows, heads, dim int) {
	t.time("Interleave", func() { t.Device.Interleave(x, rows, heads, dim) })
}

// JoinKeys is timed.
func (t *timed) JoinKeys(k, kv tensor.Array, shared tensor.Heads, l tensor.LatentShape) {
	t.time("JoinKeys", func() { t.Device.JoinKeys(k, kv, shared, l) })
}

// SplitKeys is timed.
func (t *timed) SplitKeys(dkv tensor.Array, dshared tensor.Heads, dk tensor.Array, l tensor.LatentShape) {
	t.time("SplitKeys", func() { t.Device.SplitKeys(dkv, dshared, dk, l) })
}

// Attend is timed.
func (t *timed) Attend(a tensor.Attended, s tensor.AttendShape) {
	t.time("Attend", func() { t.Device.Attend(a, s) })
}

// AttendBack is timed.
func (t *timed) AttendBack(a tensor.Attended, d tensor.AttendGrads, s tensor.AttendShape) {
	t.time("AttendBack", func() { t.Device.AttendBack(a, d, s) })
}

// Route is timed.
func (t *timed) Route(r *tensor.Routing, rule tensor.RouteRule) {
	t.time("Route", func() { t.Device.Route(r, rule) })
}

// RouteBack is timed.
func (t *timed) RouteBack(r *tensor.Routing, rule tensor.RouteRule, dWeights tensor.Array) {
	t.time("RouteBack", func() { t.Device.RouteBack(r, rule, dWeights) })
}

// GatherSlots is timed.
func (t *timed) GatherSlots(sorted, x tensor.Array, r *tensor.Routing, width int) {
	t.time("GatherSlots", func() { t.Device.GatherSlots(sorted, x, r, width) })
}

// CombineSlots is timed.
func (t *timed) CombineSlots(y, sorted tensor.Array, r *tensor.Routing, width int) {
	t.time("CombineSlots", func() { t.Device.CombineSlots(y, sorted, r, width) })
}

// AddSlots is timed.
func (t *timed) AddSlots(y, sorted tensor.Array, r *tensor.Routing, width int) {
	t.time("AddSlots", func() { t.Device.AddSlots(y, sorted, r, width) })
}

// Experts is timed.
func (t *timed) Experts(e tensor.Experts, r *tensor.Routing, x, out tensor.Array, inner tensor.GLU) {
	t.time("Experts", func() { t.Device.Experts(e, r, x, out, inner) })
}

// ExpertsBack is timed.
func (t *timed) ExpertsBack(e tensor.Experts, r *tensor.Routing, x, dy tensor.Array, inner tensor.GLU, dWeights tensor.Array,
	needIn bool) {
	t.time("ExpertsBack", func() { t.Device.ExpertsBack(e, r, x, dy, inner, dWeights, needIn) })
}

// BalanceCount is timed.
func (t *timed) BalanceCount(r *tensor.Routing, k int, counted tensor.Ints) (chosen, probable []float64) {
	t.time("BalanceCount", func() { chosen, probable = t.Device.BalanceCount(r, k, counted) })
	return chosen, probable
}

// BalanceBack is timed.
func (t *timed) BalanceBack(r *tensor.Routing, slope tensor.Array, counted tensor.Ints) {
	t.time("BalanceBack", func() { t.Device.BalanceBack(r, slope, counted) })
}

// CrossEntropy is timed.
func (t *timed) CrossEntropy(logits tensor.Array, targets tensor.Ints, vocab int, grad float32, loss tensor.Doubles) {
	t.time("CrossEntropy", func() { t.Device.CrossEntropy(logits, targets, vocab, grad, loss) })
}

// SumSquares is timed.
func (t *timed) SumSquares(arrays ...tensor.Array) (out []float64) {
	t.time("SumSquares", func() { out = t.Device.SumSquares(arrays...) })
	return out
}

// Moments is timed.
func (t *timed) Moments(n int) (out tensor.Moments) {
	t.time("Moments", func() { out = t.Device.Moments(n) })
	return out
}

// FreeMoments is timed.
func (t *timed) FreeMoments(moments ...tensor.Moments) {
	t.time("FreeMoments", func() { t.Device.FreeMoments(moments...) })
}

// ReadMoments is timed.
func (t *timed) ReadMoments(m tensor.Moments) (first, second []float32) {
	t.time("ReadMoments", func() { first, second = t.Device.ReadMoments(m) })
	return first, second
}

// SetMoments is timed.
func (t *timed) SetMoments(m tensor.Moments, first, second []float32) {
	t.time("SetMoments", func() { t.Device.SetMoments(m, first, second) })
}

// AdamW is timed.
func (t *timed) AdamW(rule tensor.AdamW, step int, w *tensor.Weight, m tensor.Moments) {
	t.time("AdamW", func() { t.Device.AdamW(rule, step, w, m) })
}
