// Products of experts' rows on tensor cores: one launch for all experts, each with as many rows as it was given. Widths
// are multiples of 8, and rows begin at multiples of 16 bytes.
//
// A block has a tile of BM by BN values of the result and walks the sum in steps of 32, whose operands arrive in a ring of
// STAGES tiles. Its four warps share the tile out in two rows and two columns.

enum { STAGES = 3, STEP = 32, BN = 128, THREADS = 128 };

// Which operands have a row for each term of the sum, as against each row or column of the result.
enum class layout { nt, nn, tn };

// acc += one step. row and col are the warp's first in the tile, multiples of 64 where they
// are values of a row.
template <layout L, int BM, int M>
__device__ __forceinline__ void multiply(float (&acc)[M][8][4], const bf16 *a, const bf16 *b, int row, int col) {
  constexpr int WA = L == layout::tn ? BM : STEP, WB = L == layout::nt ? STEP : BN;
  const spots<WA> left = L == layout::tn ? chunks_first<WA>(a + row, 0) : rows_first<WA>(a, row);
  const spots<WB> right = L == layout::nt ? chunks_first<WB>(b, col) : rows_first<WB>(b + col, 0);
#pragma unroll
  for (int k = 0; k < STEP / 16; k++) {
    unsigned x[M][4];
#pragma unroll
    for (int m = 0; m < M; m++)
      if (L == layout::tn) load_transposed(x[m], chunk_pair<WA>(left, 16 * k, m));
      else load_fragment(x[m], chunk_pair<WA>(left, 16 * m, k));
#pragma unroll
    for (int n = 0; n < 4; n++) {
      unsigned y[4];
      if (L == layout::nt) load_fragment(y, chunk_pair<WB>(right, 16 * n, k));
      else load_transposed(y, chunk_pair<WB>(right, 16 * k, n));
#pragma unroll
      for (int m = 0; m < M; m++) {
        mma_bf16(acc[m][2 * n], x[m], y[0], y[1]);
        mma_bf16(acc[m][2 * n + 1], x[m], y[2], y[3]);
      }
    }
  }
}

// acc = the sum of steps. load(a, b, i) starts copying step i's operands. The tiles are free afterwards.
template <layout L, int BM, int M, class Load>
__device__ __forceinline__ void sum_steps(float (&acc)[M][8][4], bf16 *tiles, int steps, int row, int col, Load load) {
  constexpr int SIZE = (BM + BN) * STEP;
  clear(acc);
  for (int i = 0; i < STAGES - 1; i++) {
    if (i < steps) load(tiles + i * SIZE, tiles + i * SIZE + BM * STEP, i);
    copy_async_commit();
  }
  for (int i = 0; i < steps; i++) {
    copy_async_wait<STAGES - 2>();
    __syncthreads(); // step i is there, and nobody reads step i-1 any more
    const int next = i + STAGES - 1;
    bf16 *to = tiles + next % STAGES * SIZE;
    if (next < steps) load(to, to + BM * STEP, next);
    copy_async_commit();
    const bf16 *a = tiles + i % STAGES * SIZE;
    multiply<L, BM, M>(acc, a, a + BM * STEP, row, col);
  }
  __syncthreads();
}

// The warp's first row and column in a tile.
template <int BM> __device__ __forceinline__ int warp_row() { return threadIdx.x / 64 * (BM / 2); }
__device__ __forceinline__ int warp_col() { return threadIdx.x / 32 % 2 * (BN / 2); }

// Writes a warp's W columns of the result by way of its part of the tiles' memory.
template <int W, int M>
__device__ __forceinline__ void store_part(bf16 *to, int stride, int rows, int cols, bf16 *tiles,
                                           const float (&acc)[M][W / 8][4]) {
  float one[M][2];
#pragma unroll
  for (int m = 0; m < M; m++) one[m][0] = one[m][1] = 1.f;
  store_rows<W, M>(to, stride, rows, cols, tiles + threadIdx.x / 32 * M * 16 * W, 0, acc, one);
}

// gate = x Gateᵀ, up = x Upᵀ and act = silu(gate) up. Grid: tiles of 64 columns, tiles of rows. A warp has the same 32
// columns of gate and of up.
template <int BM>
__device__ __forceinline__ void experts_gate_up(const bf16 *x, const bf16 *const *gates, const bf16 *const *ups, bf16 *gate,
                                                bf16 *up, bf16 *act, const int *start, int experts, int hidden, int width) {
  constexpr int M = BM / 32;
  DYNAMIC_SHARED(bf16, shared);
  const expert_tile t = find_tile(start, experts, blockIdx.y, BM);
  if (t.rows == 0) return;
  const int from = blockIdx.x * (BN / 2), row = warp_row<BM>(), col = warp_col();
  const bf16 *in = x + (long long)t.from * hidden, *weight[2] = {gates[t.expert], ups[t.expert]};
  float acc[M][8][4];
  sum_steps<layout::nt, BM, M>(acc, shared, (hidden + STEP - 1) / STEP, row, col, [&](bf16 *a, bf16 *b, int i) {
    const int k = i * STEP;
    load_tile<BM, STEP, THREADS>(a, in + k, hidden, t.rows, hidden - k);
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const int first = from + part / 2 * 32;
      load_tile<32, STEP, THREADS>(b + part * 32 * STEP, weight[part & 1] + (long long)first * hidden + k, hidden,
                                   width - first, hidden - k);
    }
  });
  float g[M][4][4], u[M][4][4], y[M][4][4];
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < 4; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        g[m][n][i] = acc[m][n][i], u[m][n][i] = acc[m][n + 4][i];
        y[m][n][i] = g[m][n][i] / (1.f + __expf(-g[m][n][i])) * u[m][n][i];
      }
  const int first = from + col / 2;
  const long long at = (long long)(t.from + row) * width + first;
  store_part<32, M>(gate + at, width, t.rows - row, width - first, shared, g);
  store_part<32, M>(up + at, width, t.rows - row, width - first, shared, u);
  store_part<32, M>(act + at, width, t.rows - row, width - first, shared, y);
}

// y = x Wᵀ for weights [out, in]. Grid: tiles of columns, tiles of rows.
template <int BM>
__device__ __forceinline__ void experts_nt(const bf16 *x, const bf16 *const *weights, bf16 *y, const int *start, int experts,
                                           int in, int out) {
  constexpr int M = BM / 32;
  DYNAMIC_SHARED(bf16, shared);
  const expert_tile t = find_tile(start, experts, blockIdx.y, BM);
  if (t.rows == 0) return;
  const int from = blockIdx.x * BN, row = warp_row<BM>(), col = warp_col();
  const bf16 *rows = x + (long long)t.from * in, *weight = weights[t.expert] + (long long)from * in;
  float acc[M][8][4];
  sum_steps<layout::nt, BM, M>(acc, shared, (in + STEP - 1) / STEP, row, col, [&](bf16 *a, bf16 *b, int i) {
    const int k = i * STEP;
    load_tile<BM, STEP, THREADS>(a, rows + k, in, t.rows, in - k);
    load_tile<BN, STEP, THREADS>(b, weight + k, in, out - from, in - k);
  });
  store_part<64, M>(y + (long long)(t.from + row) * out + from + col, out, t.rows - row, out - from - col, shared, acc);
}

// dx = dy W for weights [out, in], or with a second pair the sum of both products. Grid: tiles of columns, tiles of rows.
template <int BM>
__device__ __forceinline__ void experts_nn(const bf16 *dy, const bf16 *const *weights, const bf16 *dy2,
                                           const bf16 *const *weights2, bf16 *dx, const int *start, int experts, int in,
                                           int out) {
  constexpr int M = BM / 32;
  DYNAMIC_SHARED(bf16, shared);
  const expert_tile t = find_tile(start, experts, blockIdx.y, BM);
  if (t.rows == 0) return;
  const int from = blockIdx.x * BN, row = warp_row<BM>(), col = warp_col(), steps = (out + STEP - 1) / STEP;
  const long long first = (long long)t.from * out;
  const bf16 *rows = dy + first, *weight = weights[t.expert], *rows2 = rows, *weight2 = weight;
  if (dy2) rows2 = dy2 + first, weight2 = weights2[t.expert];
  float acc[M][8][4];
  sum_steps<layout::nn, BM, M>(acc, shared, dy2 ? 2 * steps : steps, row, col, [&](bf16 *a, bf16 *b, int i) {
    const bool second = i >= steps;
    const int k = (second ? i - steps : i) * STEP;
    load_tile<BM, STEP, THREADS>(a, (second ? rows2 : rows) + k, out, t.rows, out - k);
    load_tile<STEP, BN, THREADS>(b, (second ? weight2 : weight) + (long long)k * in + from, in, out - k, in - from);
  });
  store_part<64, M>(dx + (long long)(t.from + row) * in + from + col, in, t.rows - row, in - from - col, shared, acc);
}

// grad += dyᵀ x for gradients [out, in], the sum in the order of rows. Grid: tiles of 128 columns, tiles of 128 rows,
// the count trained experts; or twice as many, the second half for the second pair. A gradient that is not there has
// address 0.
__device__ __forceinline__ void experts_tn(const bf16 *dy, float *const *grads, const bf16 *dy2, float *const *grads2,
                                           const bf16 *x, const int *start,
                                           const long long *trained, int count, int in, int out) {
  constexpr int BM = 128, M = BM / 32;
  DYNAMIC_SHARED(bf16, shared);
  const bool second = blockIdx.z >= (unsigned)count;
  const int expert = (int)trained[second ? blockIdx.z - count : blockIdx.z];
  const int begin = start[expert], terms = start[expert + 1] - begin;
  float *grad = (second ? grads2 : grads)[expert];
  if (terms == 0 || !grad) return;
  const int from = blockIdx.x * BN, top = blockIdx.y * BM, row = warp_row<BM>(), col = warp_col(), lane = threadIdx.x & 31;
  const bf16 *left = (second ? dy2 : dy) + (long long)begin * out + top, *right = x + (long long)begin * in + from;
  float acc[M][8][4];
  sum_steps<layout::tn, BM, M>(acc, shared, (terms + STEP - 1) / STEP, row, col, [&](bf16 *a, bf16 *b, int i) {
    const int k = i * STEP;
    load_tile<STEP, BM, THREADS>(a, left + (long long)k * out, out, terms - k, out - top);
    load_tile<STEP, BN, THREADS>(b, right + (long long)k * in, in, terms - k, in - from);
  });
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int n = 0; n < 8; n++) {
        const int r = top + row + 16 * m + 8 * h + (lane >> 2), c = from + col + 8 * n + 2 * (lane & 3);
        if (r >= out || c >= in) continue;
        float2 *to = (float2 *)(grad + (long long)r * in + c);
        const float2 was = *to;
        *to = make_float2(was.x + acc[m][n][2 * h], was.y + acc[m][n][2 * h + 1]);
      }
}

extern "C" __global__ void experts_gate_up_128_bf16(const bf16 *x, const bf16 *const *gates, const bf16 *const *ups, bf16 *gate,
                                                    bf16 *up, bf16 *act, const int *start, int experts, int hidden, int width) {
  experts_gate_up<128>(x, gates, ups, gate, up, act, start, experts, hidden, width);
}

extern "C" __global__ void experts_gate_up_64_bf16(const bf16 *x, const bf16 *const *gates, const bf16 *const *ups, bf16 *gate,
                                                   bf16 *up, bf16 *act, const int *start, int experts, int hidden, int width) {
  experts_gate_up<64>(x, gates, ups, gate, up, act, start, experts, hidden, width);
}

extern "C" __global__ void experts_nt_128_bf16(const bf16 *x, const bf16 *const *weights, bf16 *y, const int *start,
                                               int experts, int in, int out) {
  experts_nt<128>(x, weights, y, start, experts, in, out);
}

extern "C" __global__ void experts_nt_64_bf16(const bf16 *x, const bf16 *const *weights, bf16 *y, const int *start, int experts,
                                              int in, int out) {
  experts_nt<64>(x, weights, y, start, experts, in, out);
}

extern "C" __global__ void experts_nn_128_bf16(const bf16 *dy, const bf16 *const *weights, const bf16 *dy2,
                                               const bf16 *const *weights2, bf16 *dx, const int *start, int experts, int in,
                                               int out) {
  experts_nn<128>(dy, weights, dy2, weights2, dx, start, experts, in, out);
}

extern "C" __global__ void experts_nn_64_bf16(const bf16 *dy, const bf16 *const *weights, const bf16 *dy2,
                                              const bf16 *const *weights2, bf16 *dx, const int *start, int experts, int in,
                                              int out) {
  experts_nn<64>(dy, weights, dy2, weights2, dx, start, experts, in, out);
}

extern "C" __global__ void experts_tn_bf16(const bf16 *dy, float *const *grads, const bf16 *dy2, float *const *grads2,
                                           const bf16 *x, const int *start,
                                           const long long *trained, int count, int in, int out) {
  experts_tn(dy, grads, dy2, grads2, x, start, trained, count, in, out);
}
