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
  const bf16 *mine = from + (long long)row * stride + lane * 8;
#pragma unroll
  for (int r = 0; r < ROWS; r += STEP) {
#pragma unroll
    for (int c = 0; c < W; c += LANES * 8) {
      const bool in = row + r < rows && lane * 8 + c < cols;
      copy_async16(to + r * W + c, in ? mine + (long long)r * stride + c : from, in);
    }
  }
}

// The left operand of a product: rows [row, row+16), values [16k, 16k+16).
template <int W> __device__ __forceinline__ void left_fragment(unsigned (&f)[4], const bf16 *tile, int row, int k) {
  const int lane = threadIdx.x & 31;
  ldmatrix_x4(f, tile + chunk_at<W>(row + (lane & 15), 2 * k + (lane >> 4)));
}

// The right operand of A Bᵀ: rows [row, row+16) of B are 16 columns of the product, as two fragments.
template <int W> __device__ __forceinline__ void right_fragments(unsigned (&f)[4], const bf16 *tile, int row, int k) {
  const int lane = threadIdx.x & 31;
  ldmatrix_x4(f, tile + chunk_at<W>(row + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1)));
}

// The right operand of A B: values [16n, 16n+16) of rows [row, row+16) of B, as two fragments.
template <int W> __device__ __forceinline__ void right_fragments_nn(unsigned (&f)[4], const bf16 *tile, int row, int n) {
  const int lane = threadIdx.x & 31;
  ldmatrix_x4_trans(f, tile + chunk_at<W>(row + (lane & 15), 2 * n + (lane >> 4)));
}

// s = A Bᵀ for M*16 rows of A from row on, and N rows of B.
template <int W, int M, int N>
__device__ __forceinline__ void product_nt(float (&s)[M][N / 8][4], const bf16 *a, int row, const bf16 *b) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < N / 8; n++) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0.f;
#pragma unroll
  for (int k = 0; k < W / 16; k++) {
    unsigned x[M][4], y[4];
#pragma unroll
    for (int m = 0; m < M; m++) left_fragment<W>(x[m], a, row + 16 * m, k);
#pragma unroll
    for (int n = 0; n < N / 16; n++) {
      right_fragments<W>(y, b, 16 * n, k);
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
#pragma unroll
  for (int k = 0; k < K / 16; k++) {
#pragma unroll
    for (int n = 0; n < W / 16; n++) {
      unsigned y[4];
      right_fragments_nn<W>(y, b, 16 * k, n);
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
