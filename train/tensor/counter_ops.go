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

// Gemm does nothing.
func (d *Counter) Gemm(_, _, _ int, _, _ Matrix, _ Array, _ int, _ bool) {}

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

// AttendBack does nothing.
func (d *Counter) AttendBack(Attended, AttendGrads, AttendShape) {}

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

// ExpertsBack does nothing.
func (d *Counter) ExpertsBack(_ Experts, _ *Routing, _, _ Array, _ GLU, _ Array, _ bool) {}

// BalanceBack does nothing.
func (d *Counter) BalanceBack(*Routing, Array, Ints) {}

// CrossEntropy does nothing.
func (d *Counter) CrossEntropy(_ Array, _ Ints, _ int, _ float32, _ Doubles) {}

// SetMoments does nothing.
func (d *Counter) SetMoments(_ Moments, _, _ []float32) {}

// AdamW does nothing.
func (d *Counter) AdamW(_ AdamW, _ int, _ *Weight, _ Moments) {}
