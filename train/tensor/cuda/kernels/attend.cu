// Causal softmax attention on tensor cores, after FlashAttention-2 (Dao 2023): a block holds one tile of
// queries, keys and values stream by, and the softmax is made as they do. Every kernel is made for heads
// padded to multiples of 64 values; the padding is zeros that never leave the shared memory. Rows begin at
// multiples of 16 bytes.
//
// The backward pass recomputes the probabilities from the logarithm of each softmax's denominator. One kernel
// walks the queries for a tile of keys, another the keys for a tile of queries: seven products instead of five,
// but every sum has one order, and none needs atomics.

// One step of the softmax: s becomes probabilities relative to the greatest score so far; acc and sum are
// brought to that scale. c is the scores' scale times log2(e).
template <int M, int N, int W>
__device__ __forceinline__ void online_softmax(float (&s)[M][N][4], float (&acc)[M][W][4], float (&top)[M][2],
                                               float (&sum)[M][2], float c) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float best = top[m][h];
#pragma unroll
      for (int n = 0; n < N; n++) best = fmaxf(best, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
      best = fmaxf(best, __shfl_xor_sync(FULL, best, 1));
      best = fmaxf(best, __shfl_xor_sync(FULL, best, 2));
      const float shrink = fast_exp2((top[m][h] - best) * c), offset = best * c;
      top[m][h] = best;
      float part = 0.f;
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; i++) part += s[m][n][i] = fast_exp2(s[m][n][i] * c - offset);
      sum[m][h] = sum[m][h] * shrink + part;
#pragma unroll
      for (int n = 0; n < W; n++) acc[m][n][2 * h] *= shrink, acc[m][n][2 * h + 1] *= shrink;
    }
}

// Takes the lanes' sums together: sum becomes what the outputs are multiplied by, and log_sum gets the logarithms.
template <int M>
__device__ __forceinline__ void finish_softmax(float (&sum)[M][2], const float (&top)[M][2], float scale, float *log_sum,
                                               int row, int rows) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float total = sum[m][h];
      total += __shfl_xor_sync(FULL, total, 1);
      total += __shfl_xor_sync(FULL, total, 2);
      sum[m][h] = 1.f / total;
      const int r = row + 16 * m + 8 * h + (lane >> 2);
      if ((lane & 3) == 0 && r < rows) log_sum[r] = top[m][h] * scale + logf(total);
    }
}

#define ATTEND_ARGS \
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride, \
    int v_step, bf16 *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim, \
    int v_dim, float scale
#define ATTEND_PASS                                                                                                \
  q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, out, out_stride, out_step, log_sum, length, heads, \
      group, qk_dim, v_dim, scale

// The output for a tile of queries. Grid: query tiles, heads, sequences; the tiles with the most keys first.
// WARPS warps have M*16 queries each. While scores are made of a tile of keys its values arrive, and while
// these are summed, the next keys.
template <int QK, int V, int WARPS, int M, int BN> __device__ __forceinline__ void attend(ATTEND_ARGS) {
  constexpr int THREADS = WARPS * 32, BM = WARPS * M * 16;
  DYNAMIC_SHARED(bf16, shared);
  bf16 *qs = shared, *ks = qs + BM * QK, *vs = ks + BN * QK;
  const int from = (gridDim.x - 1 - blockIdx.x) * BM, head = blockIdx.y, kv = head / group;
  const int row = (threadIdx.x >> 5) * M * 16, rows = min(BM, length - from);
  const long long start = (long long)blockIdx.z * length;
  k = head_rows(k, start, k_stride, kv, k_step);
  v = head_rows(v, start, v_stride, kv, v_step);
  load_tile<BM, QK, THREADS>(qs, head_rows(q, start + from, q_stride, head, q_step), q_stride, rows, qk_dim);
  load_tile<BN, QK, THREADS>(ks, k, k_stride, length, qk_dim);
  copy_async_commit();

  float acc[M][V / 8][4], top[M][2], sum[M][2];
  clear(acc);
#pragma unroll
  for (int m = 0; m < M; m++) top[m][0] = top[m][1] = -INFINITE, sum[m][0] = sum[m][1] = 0.f;
  const int keys = from + rows;
  for (int at = 0; at < keys; at += BN) {
    const bool seen = at <= from + row + M * 16 - 1;
    copy_async_wait<0>();
    __syncthreads();
    load_tile<BN, V, THREADS>(vs, v + (long long)at * v_stride, v_stride, length - at, v_dim);
    copy_async_commit();
    float s[M][BN / 8][4];
    if (seen) {
      product_nt<QK, M, BN>(s, qs, row, ks);
      if (at + BN - 1 > from + row) mask_after(s, from + row, at);
      online_softmax(s, acc, top, sum, scale * 1.44269504f);
    }
    copy_async_wait<0>();
    __syncthreads();
    if (at + BN < keys) {
      const int next = at + BN;
      load_tile<BN, QK, THREADS>(ks, k + (long long)next * k_stride, k_stride, length - next, qk_dim);
      copy_async_commit();
    }
    if (seen) {
      unsigned p[M][BN / 16][4];
      pack_left<M, BN>(p, s);
      product_nn<V, M, BN>(acc, p, vs);
    }
  }

  finish_softmax(sum, top, scale, log_sum + ((long long)blockIdx.z * heads + head) * length + from, row, rows);
  store_rows<V, M>(head_rows(out, start + from, out_stride, head, out_step), out_stride, rows, v_dim, qs, row, acc, sum);
}

extern "C" __global__ void attend_64_64_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, bf16 *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim,
    int v_dim, float scale) {
  attend<64, 64, 4, 2, 64>(ATTEND_PASS);
}

extern "C" __global__ void attend_128_128_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, bf16 *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim,
    int v_dim, float scale) {
  attend<128, 128, 4, 2, 64>(ATTEND_PASS);
}

extern "C" __global__ void attend_192_128_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, bf16 *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim,
    int v_dim, float scale) {
  attend<192, 128, 8, 1, 64>(ATTEND_PASS);
}

extern "C" __global__ void attend_256_256_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, bf16 *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim,
    int v_dim, float scale) {
  attend<256, 256, 4, 1, 64>(ATTEND_PASS);
}
