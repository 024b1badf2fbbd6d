package cuda

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"bzdata/train/tensor"
)

// probes are kernels that test what other kernels are tested with.
const probes = `
extern "C" __global__ void product(float *c, const bf16 *a, const bf16 *b) {
    const int pitch = 24; // values: eight rows of 48 bytes lie in eight different groups of banks
    __shared__ __align__(16) bf16 sa[16 * pitch], sb[16 * pitch], st[16 * pitch];
    int l = threadIdx.x, to = l / 2 * pitch + l % 2 * 8;
    copy_async16(sa + to, a + l * 8);
    copy_async16(sb + to, b + l * 8);
    copy_async_commit();
    copy_async16(st + to, b, false);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    unsigned ra[4], rb[4], r2[2], rt[4];
    ldmatrix_x4(ra, sa + (l % 16) * pitch + l / 16 * 8);       // tiles: rows 0-7 and 8-15 of columns 0-7, then of 8-15
    ldmatrix_x4_trans(rb, sb + (l % 16) * pitch + l / 16 * 8); // the same of B, each transposed
    ldmatrix_x2_trans(r2, sb + (l % 16) * pitch + 8);
    copy_async_wait<0>();
    __syncthreads();
    ldmatrix_x2(rt, st + (l % 8) * pitch);
    for (int half = 0; half < 2; half++) {
        float d[4] = {__uint_as_float(rt[0]), 0, __uint_as_float(rt[1]), 0};
        mma_bf16(d, ra, half ? r2[0] : rb[0], half ? r2[1] : rb[1]);
        for (int i = 0; i < 4; i++) c[(l / 4 + i / 2 * 8) * 16 + half * 8 + l % 4 * 2 + i % 2] = d[i];
    }
}
extern "C" __global__ void tiles(int *to) { // which value of a matrix each lane gets
    __shared__ __align__(16) unsigned short m[4 * 64];
    for (int i = threadIdx.x; i < 256; i += 32) m[i] = i;
    __syncthreads();
    unsigned r[4];
    ldmatrix_x4(r, m + threadIdx.x * 8);
    for (int i = 0; i < 4; i++) to[threadIdx.x * 8 + i * 2] = r[i] & 0xffff, to[threadIdx.x * 8 + i * 2 + 1] = r[i] >> 16;
    ldmatrix_x4_trans(r, m + threadIdx.x * 8);
    for (int i = 0; i < 4; i++) to[256 + threadIdx.x * 8 + i * 2] = r[i] & 0xffff, to[256 + threadIdx.x * 8 + i * 2 + 1] = r[i] >> 16;
}
extern "C" __global__ void shuffles(int *to) {
    int l = threadIdx.x;
    to[l] = __shfl_xor_sync(FULL, l, 5);
    to[32 + l] = __shfl_sync(FULL, l, 3, 8);
    to[64 + l] = __shfl_down_sync(FULL, l, 3);
    to[96 + l] = __shfl_up_sync(FULL, l, 3);
    to[128 + l] = (int)__ballot_sync(FULL, l % 3 == 0);
}
extern "C" __global__ void sums(float *to, const float *x, int n) { // of any block, with a barrier that some pass twice
    float v = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) v += x[i];
    float sum = block_sum(v), top = block_max(v);
    if (threadIdx.x == 0) to[blockIdx.x * 2] = sum, to[blockIdx.x * 2 + 1] = top;
}
extern "C" __global__ void rounds(bf16 *to, bf16 *pairs, const float *x) {
    int i = blockIdx.x * 32 + threadIdx.x;
    store(to + i, x[i]);
    if (i % 2 == 0) ((unsigned *)pairs)[i / 2] = pack_bf16(x[i], x[i + 1]);
}
extern "C" __global__ void unwritten(float *to) {
    __shared__ float never[32];
    DYNAMIC_SHARED(float, nor_this);
    if (to == 0) never[threadIdx.x] = 0; // or the compiler knows that nothing does
    to[threadIdx.x] = threadIdx.x % 2 ? never[threadIdx.x] : nor_this[threadIdx.x];
}
extern "C" __global__ void early(float *to, const float *x) { // reads an asynchronous copy before it is waited for
    __shared__ __align__(16) float s[128];
    copy_async16(s + threadIdx.x * 4, x + threadIdx.x * 4);
    copy_async_commit();
    to[threadIdx.x] = s[threadIdx.x * 4];
}
extern "C" __global__ void missing_barrier(float *to) {
    __shared__ float s[64];
    s[threadIdx.x] = 1;
    to[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void past(float *to) {
    DYNAMIC_SHARED(float, s);
    s[threadIdx.x + 1] = 1;
}
extern "C" __global__ void beside(float *to, int at) { to[at] = 1; }
extern "C" __global__ void diverged(float *to) {
    if (threadIdx.x < 16) to[threadIdx.x] = __shfl_xor_sync(FULL, 1.f, 1);
    else __syncwarp();
}
extern "C" __global__ void forever(float *to) {
    if (threadIdx.x == 0) __shfl_xor_sync(FULL, 1.f, 1);
    __syncthreads();
}
extern "C" __global__ void vector(float *to, int at) { *(float2 *)(to + at) = make_float2(1, 2); }
extern "C" __global__ void outside(float *to, int at) {
    __shared__ float s[32];
    s[threadIdx.x + at] = 1;
    __syncthreads();
    to[threadIdx.x] = s[31 - threadIdx.x];
}
extern "C" __global__ void banks(float *to) {
    __shared__ __align__(16) unsigned short m[512];
    unsigned r[4];
    ldmatrix_x4(r, m + threadIdx.x * 16);
}
extern "C" __global__ void odd(float *to) {
    __shared__ __align__(16) unsigned short m[512];
    unsigned r[4];
    ldmatrix_x4(r, m + threadIdx.x * 8 + 1);
}
`

func openProbes(t *testing.T) *Device {
	t.Helper()
	prelude, err := kernelFiles.ReadFile("kernels/prelude.cuh")
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := readCatalog(fstest.MapFS{"kernels/prelude.cuh": {Data: prelude}, "kernels/probes.cu": {Data: []byte(probes)}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := open(Options{Precision: tensor.Half}, catalog)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTiles holds the layouts of matrix fragments against the tables of the PTX ISA, and a product made of them
// against loops.
func TestTiles(t *testing.T) {
	for order := range 2 {
		fakeSet(t, "order", order, 0)
		d := openProbes(t)
		var to tensor.Ints
		d.GrowInts(&to, 512)
		d.launch("tiles", line(1, 32), to)
		got := make([]int32, 512)
		d.DownloadInts(got, to)
		for lane := range 32 {
			for i := range 8 {
				tile, high := i/2, i%2
				row, column := lane/4, lane%4*2+high
				if want := int32(tile*64 + row*8 + column); got[lane*8+i] != want {
					t.Fatalf("lane %d, tile %d, value %d is %d, want %d", lane, tile, high, got[lane*8+i], want)
				}
				if want := int32(tile*64 + column*8 + row); got[256+lane*8+i] != want {
					t.Fatalf("transposed, lane %d, tile %d, value %d is %d, want %d", lane, tile, high, got[256+lane*8+i], want)
				}
			}
		}
		a, x := put(t, d, tensor.BF16, normal(1, 256))
		b, y := put(t, d, tensor.BF16, normal(2, 256))
		c, want := d.Alloc(tensor.F32, 256), make([]float32, 256)
		d.launch("product", line(1, 32), c, a, b)
		tensor.New(tensor.Plain(), 1).Gemm(16, 16, 16, tensor.Rows(tensor.Of(x), 16), tensor.Rows(tensor.Of(y), 16),
			tensor.Of(want), 16, false)
		sameValues(t, "product", get(t, d, c), want, 1e-6)
	}
}

func TestShuffles(t *testing.T) {
	d := openProbes(t)
	var to tensor.Ints
	d.GrowInts(&to, 160)
	d.launch("shuffles", line(1, 32), to)
	got := make([]int32, 160)
	d.DownloadInts(got, to)
	for i := range int32(32) {
		down, up := i+3, i-3
		if down > 31 {
			down = i
		}
		if up < 0 {
			up = i
		}
		want := []int32{i ^ 5, i/8*8 + 3, down, up, 0x49249249}
		if row := []int32{got[i], got[32+i], got[64+i], got[96+i], got[128+i]}; !slices.Equal(row, want) {
			t.Fatalf("lane %d has %v, want %v", i, row, want)
		}
	}
	x, values := put(t, d, tensor.F32, normal(1, 5000))
	for _, threads := range []int{32, 96, 1024} {
		parts, out := make([]float32, threads), d.Alloc(tensor.F32, 6)
		sum := float32(0)
		for i, v := range values {
			parts[i%threads] += v
			sum += v
		}
		d.launch("sums", line(3, threads), out, x, int32(len(values)))
		sameValues(t, "sums", get(t, d, out), slices.Repeat([]float32{sum, slices.Max(parts)}, 3), 1e-5)
	}
}

// TestRounds holds that values are rounded to the nearest, ties to even, alone and in pairs.
func TestRounds(t *testing.T) {
	d := openProbes(t)
	x, values := put(t, d, tensor.F32, some(1, 64*32))
	for i := range 40 {
		values[i] = math.Float32frombits(0x3f808000 + uint32(i)*0x10000)
	}
	d.Upload(x, values)
	to, pairs := d.Alloc(tensor.BF16, len(values)), d.Alloc(tensor.BF16, len(values))
	d.launch("rounds", line(64, 32), to, pairs, x)
	for _, got := range [][]float32{get(t, d, to), get(t, d, pairs)} {
		for i, v := range values {
			if want := rounded(tensor.BF16, v); got[i] != want {
				t.Fatalf("%g is %g, want %g", v, got[i], want)
			}
		}
	}
}

// TestShimPoison holds that what was never written, or not yet, is NaN.
func TestShimPoison(t *testing.T) {
	needsFake(t)
	for order, name := range []string{"forward", "backward"} {
		fakeSet(t, "order", order, 0)
		d := openProbes(t)
		to, x := d.Alloc(tensor.F32, 128), d.Alloc(tensor.F32, 128)
		on := line(1, 32)
		on.shared = 128
		for kernel, args := range map[string][]any{"unwritten": {to}, "early": {to, x}} {
			d.launch(kernel, on, args...)
			for i, v := range get(t, d, to)[:32] {
				if v == v {
					t.Errorf("%s, %s: value %d is %g, not NaN", kernel, name, i, v)
				}
			}
		}
		d.launch("missing_barrier", line(1, 64), to)
		if !slices.ContainsFunc(get(t, d, to), func(v float32) bool { return math.IsNaN(float64(v)) }) {
			t.Errorf("%s: a missing barrier does not show", name)
		}
	}
}

// TestShimFaults holds that mistakes that a card would not report fail the launch, or the next wait.
func TestShimFaults(t *testing.T) {
	needsFake(t)
	for _, c := range []struct {
		kernel string
		args   []any
		want   string
	}{
		{"past", nil, "a write past the 128 bytes of dynamic shared memory"},
		{"diverged", nil, "lanes of one warp meet in __syncwarp"},
		{"forever", nil, "waits for ever in __"},
		{"banks", nil, "rows of matrix 0 share banks"},
		{"odd", nil, "is not a multiple of 16"},
		{"vector", []any{int32(1)}, "of a 'struct float2' is not a multiple of 8"},
		{"outside", []any{int32(1)}, "index 32 is outside of 'float [32]'"},
		{"beside", []any{int32(128)}, "a write past an allocation of 512 bytes"},
		{"beside", []any{int32(-1)}, "a write before an allocation of 512 bytes"},
	} {
		d := openProbes(t)
		to := d.Alloc(tensor.F32, 128)
		on := line(1, 32)
		on.shared = 128
		d.launch(c.kernel, on, append([]any{to}, c.args...)...)
		if d.Sync() == nil {
			t.Errorf("%s: no fault", c.kernel)
		}
		if got := fakeMessage(t); !strings.Contains(got, c.want) {
			t.Errorf("%s: the fake card says %q, want %q", c.kernel, got, c.want)
		}
		fakeSet(t, "order", 0, 0) // the card is back
	}
}
