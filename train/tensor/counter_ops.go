package tensor

// What computes does nothing here.

// Upload does nothing.
func (d *Counter) Upload(Array, []float32) {}

// Download does nothing.
func (d *Counter) Download([]float32, Array) {}

// UploadBF16 does nothing.
func (d *Counter) UploadBF16(Array, []byte) {}

// UploadInts does nothing.
func (d *Counter) UploadInts(Ints, []int32) {}

// DownloadInts does nothing.
func (d *Counter) DownloadInts([]int32, Ints) {}

// DownloadDoubles does nothing.
func (d *Counter) DownloadDoubles([]float64, Doubles) {}

// Clear does nothing.
func (d *Counter) Clear(Array) {}

// Copy does nothing.
func (d *Counter) Copy(_, _ Array) {}

// SetMaster does nothing.
func (d *Counter) SetMaster(*Weight, []float32) {}

// Gemm counts the copy in BF16 of a matrix in F32 that is multiplied by one in BF16, or the sum in F32 of two such.
func (d *Counter) Gemm(m, n, k int, a, b Matrix, c Array, _ int, _ bool) {
	switch {
	case a.Type != b.Type && a.Type == F32:
		d.borrowed(2 * m * k)
	case a.Type != b.Type:
		d.borrowed(2 * k * n)
	case a.Type == F32 && c.Type == BF16:
		d.borrowed(4 * m * n)
	}
}

// AddRow does nothing.
func (d *Counter) AddRow(_, _ Array) {}

// SumRows does nothing.
func (d *Counter) SumRows(_, _ Array) {}

// Add does nothing.
func (d *Counter) Add(_, _ Array, _ float32) {}

// RMSNorm does nothing.
func (d *Counter) RMSNorm(_, _, _, _ Array, _ float64) {}

// RMSNormBack does nothing.
func (d *Counter) RMSNormBack(_, _, _, _, _, _ Array) {}

// SwiGLU does nothing.
func (d *Counter) SwiGLU(_, _, _ Array) {}

// SwiGLUBack does nothing.
func (d *Counter) SwiGLUBack(_, _, _ Array) {}

// Embed does nothing.
func (d *Counter) Embed(_, _ Array, _ Ints, _ int) {}

// EmbedBack does nothing.
func (d *Counter) EmbedBack(_, _ Array, _ Ints, _ int) {}

// GatherRows does nothing.
func (d *Counter) GatherRows(_, _ Array, _ Ints, _ int) {}

// ScatterRows does nothing.
func (d *Counter) ScatterRows(_, _ Array, _ Ints, _ int) {}

// CopyColumns does nothing.
func (d *Counter) CopyColumns(_ Array, _ int, _ Array, _, _, _ int) {}

// Rotate does nothing.
func (d *Counter) Rotate(_ Heads, _, _, _, _ int, _, _ Array) {}

// Deinterleave does nothing.
func (d *Counter) Deinterleave(_ Heads, _, _, _ int) {}

// Interleave does nothing.
func (d *Counter) Interleave(_ Heads, _, _, _ int) {}

// JoinKeys does nothing.
func (d *Counter) JoinKeys(_, _ Array, _ Heads, _ LatentShape) {}

// SplitKeys does nothing.
func (d *Counter) SplitKeys(_ Array, _ Heads, _ Array, _ LatentShape) {}

// Attend does nothing.
func (d *Counter) Attend(Attended, AttendShape) {}

// AttendBack counts a sum for each query.
func (d *Counter) AttendBack(_ Attended, _ AttendGrads, s AttendShape) {
	d.borrowed(4 * s.Sequences * s.Heads * s.Length)
}

// Route does nothing.
func (d *Counter) Route(*Routing, RouteRule) {}

// RouteBack does nothing.
func (d *Counter) RouteBack(*Routing, RouteRule, Array) {}

// GatherSlots does nothing.
func (d *Counter) GatherSlots(_, _ Array, _ *Routing, _ int) {}

// CombineSlots does nothing.
func (d *Counter) CombineSlots(_, _ Array, _ *Routing, _ int) {}

// AddSlots does nothing.
func (d *Counter) AddSlots(_, _ Array, _ *Routing, _ int) {}

// Experts does nothing.
func (d *Counter) Experts(_ Experts, _ *Routing, _, _ Array, _ GLU) {}

// ExpertsBack counts the derivatives of inner rows.
func (d *Counter) ExpertsBack(e Experts, r *Routing, _, dy Array, _ GLU, _ Array, _ bool) {
	d.borrowed(r.Slots() * e.Width * dy.Type.Bytes())
}

// BalanceBack does nothing.
func (d *Counter) BalanceBack(*Routing, Array, Ints) {}

// CrossEntropy does nothing.
func (d *Counter) CrossEntropy(_ Array, _ Ints, _ int, _ float32, _ Doubles) {}

// SetMoments does nothing.
func (d *Counter) SetMoments(_ Moments, _, _ []float32) {}

// AdamW does nothing.
func (d *Counter) AdamW(_ AdamW, _ int, _ *Weight, _ Moments) {}
