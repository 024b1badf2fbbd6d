// Tiles of bf16 matrices in shared memory, and products of them on tensor cores (mma.m16n8k16). A warp holds the
// result of 16 rows and 8 columns as 4 values a lane: with g = lane/4 and t = lane%4, rows g, g and g+8, g+8, columns
// 2t and 2t+1. Tiles are swizzled, so that neither copies to them nor ldmatrix meet bank conflicts.

// Where the 8 values of a chunk lie in a tile of rows W wide, W being 32 or a multiple of 64. The exclusive or
// spreads the same chunk of 8 successive rows over all banks.
template <int W> __device__ __forceinline__ int chunk_at(int row, int chunk) {
  return row * W + ((chunk ^ (W == 32 ? (row >> 1) & 3 : row & 7)) << 3);
}

// Starts copying rows to a tile, with zeros beyond the valid rows and columns. Up to eight threads share a row.
template <int ROWS, int W, int THREADS>
__device__ __forceinline__ void load_tile(bf16 *tile, const bf16 *from, int stride, int rows, int cols) {
  constexpr int LANES = W == 32 ? 4 : 8, STEP = THREADS / LANES;
  static_assert(ROWS % STEP == 0 && STEP % 8 == 0, "a thread keeps its place in the pattern of rows");
  const int row = threadIdx.x / LANES, lane = threadIdx.x % LANES;
  bf16 *to = tile + chunk_at<W>(row, lane);
  const unsigned mine = 2 * (row * stride + lane * 8); // bytes: a tile spans less than 4 GiB
#pragma unroll
  for (int r = 0; r < ROWS; r += STEP) {
#pragma unroll
    for (int c = 0; c < W; c += LANES * 8) {
      const unsigned at = mine + 2 * (r * stride + c);
      copy_async16(to + r * W + c, (const char *)from + at, row + r < rows && lane * 8 + c < cols);
    }
  }
}

// A place in shared memory, in bytes: what ldmatrix takes.
#ifdef BZ_SHIM
typedef const char *spot;
__device__ __forceinline__ spot spot_of(const bf16 *p) { return (spot)p; }
__device__ __forceinline__ void load_fragment(unsigned (&f)[4], spot s) { ldmatrix_x4(f, s); }
__device__ __forceinline__ void load_transposed(unsigned (&f)[4], spot s) { ldmatrix_x4_trans(f, s); }
#else
typedef unsigned spot;
__device__ __forceinline__ spot spot_of(const bf16 *p) { return shared_address(p); }
__device__ __forceinline__ void load_fragment(unsigned (&f)[4], spot s) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(s) : "memory");
}
__device__ __forceinline__ void load_transposed(unsigned (&f)[4], spot s) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(s) : "memory");
}
#endif

// Where a lane's chunks of a tile are, for the pairs of chunks of 64 values: all others are a constant away, which costs
// no instruction.
template <int W> struct spots { spot at[W == 32 ? 2 : 4]; };

template <int W> __device__ __forceinline__ spots<W> spots_of(const bf16 *tile, int row, int lane_row, int second) {
  spots<W> s;
  const int swizzle = W == 32 ? (lane_row >> 1) & 3 : lane_row & 7;
  const spot first = spot_of(tile) + 2 * W * (row + lane_row);
#pragma unroll
  for (int i = 0; i < (W == 32 ? 2 : 4); i++) s.at[i] = first + 16 * ((2 * i + second) ^ swizzle);
  return s;
}

// The lanes' order of chunks of 16 rows and 16 values, rows first: for left operands that lie by rows, and right ones that
// lie by terms. row is a multiple of 16.
template <int W> __device__ __forceinline__ spots<W> rows_first(const bf16 *tile, int row) {
  const int lane = threadIdx.x & 31;
  return spots_of<W>(tile, row, lane & 15, lane >> 4);
}

// The same, chunks first: for right operands that lie by rows, and left ones that lie by terms.
template <int W> __device__ __forceinline__ spots<W> chunks_first(const bf16 *tile, int row) {
  const int lane = threadIdx.x & 31;
  return spots_of<W>(tile, row, (lane & 7) + ((lane >> 4) << 3), (lane >> 3) & 1);
}

// Chunks 2i and 2i+1 of rows [row, row+16) counted from where the spots begin.
template <int W> __device__ __forceinline__ spot chunk_pair(const spots<W> &s, int row, int i) {
  constexpr int PAIRS = W == 32 ? 2 : 4;
  return s.at[i % PAIRS] + 2 * W * row + 128 * (i / PAIRS);
}

// s = A Bᵀ for M*16 rows of A from row on, and N rows of B.
template <int W, int M, int N>
__device__ __forceinline__ void product_nt(float (&s)[M][N / 8][4], const bf16 *a, int row, const bf16 *b) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < N / 8; n++) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0.f;
  const spots<W> left = rows_first<W>(a, row), right = chunks_first<W>(b, 0);
#pragma unroll
  for (int k = 0; k < W / 16; k++) {
    unsigned x[M][4], y[4];
#pragma unroll
    for (int m = 0; m < M; m++) load_fragment(x[m], chunk_pair<W>(left, 16 * m, k));
#pragma unroll
    for (int n = 0; n < N / 16; n++) {
      load_fragment(y, chunk_pair<W>(right, 16 * n, k));
#pragma unroll
      for (int m = 0; m < M; m++) {
        mma_bf16(s[m][2 * n], x[m], y[0], y[1]);
        mma_bf16(s[m][2 * n + 1], x[m], y[2], y[3]);
      }
    }
  }
}

// Accumulators of 16 by K as the left operand of a product.
template <int M, int K>
__device__ __forceinline__ void pack_left(unsigned (&f)[M][K / 16][4], const float (&s)[M][K / 8][4]) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int k = 0; k < K / 16; k++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float(&t)[4] = s[m][2 * k + (i >> 1)];
        f[m][k][i] = pack_bf16(t[2 * (i & 1)], t[2 * (i & 1) + 1]);
      }
}

// acc += P B for K rows of B.
template <int W, int M, int K>
__device__ __forceinline__ void product_nn(float (&acc)[M][W / 8][4], const unsigned (&p)[M][K / 16][4], const bf16 *b) {
  const spots<W> right = rows_first<W>(b, 0);
#pragma unroll
  for (int k = 0; k < K / 16; k++) {
#pragma unroll
    for (int n = 0; n < W / 16; n++) {
      unsigned y[4];
      load_transposed(y, chunk_pair<W>(right, 16 * k, n));
#pragma unroll
      for (int m = 0; m < M; m++) {
        mma_bf16(acc[m][2 * n], p[m][k], y[0], y[1]);
        mma_bf16(acc[m][2 * n + 1], p[m][k], y[2], y[3]);
      }
    }
  }
}

template <int M, int N> __device__ __forceinline__ void clear(float (&acc)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < N; n++) acc[m][n][0] = acc[m][n][1] = acc[m][n][2] = acc[m][n][3] = 0.f;
}

// Writes a warp's accumulators, the rows times factor, to global rows through the warp's own rows of a tile.
template <int W, int M>
__device__ __forceinline__ void store_rows(bf16 *to, int stride, int rows, int cols, bf16 *tile, int row,
                                           const float (&acc)[M][W / 8][4], const float (&factor)[M][2]) {
  const int lane = threadIdx.x & 31;
  __syncwarp();
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < W / 8; n++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        bf16 *at = tile + chunk_at<W>(row + 16 * m + 8 * h + (lane >> 2), n) + 2 * (lane & 3);
        *(unsigned *)at = pack_bf16(acc[m][n][2 * h] * factor[m][h], acc[m][n][2 * h + 1] * factor[m][h]);
      }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < M * 16 * W / 8; i += 32) {
    const int r = row + (i + lane) / (W / 8), chunk = (i + lane) % (W / 8);
    if (r < rows && chunk * 8 < cols)
      *(uint4 *)(to + (long long)r * stride + chunk * 8) = *(const uint4 *)(tile + chunk_at<W>(r, chunk));
  }
}

// The rows of one head from a row on.
template <class T>
__device__ __forceinline__ T *head_rows(T *p, long long row, int stride, int head, int step) {
  return p + row * stride + (long long)head * step;
}

// Sets scores of keys after their query to -inf. The first score is of query q and key k.
template <int M, int N> __device__ __forceinline__ void mask_after(float (&s)[M][N][4], int q, int k) {
  const int lane = threadIdx.x & 31, row = q + (lane >> 2), col = k + 2 * (lane & 3);
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (col + 8 * n + (i & 1) > row + 16 * m + 8 * (i >> 1)) s[m][n][i] = -INFINITE;
}

// 2^x to about 2 units in the last place; 0 for results below the normal numbers.
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef BZ_SHIM
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}
