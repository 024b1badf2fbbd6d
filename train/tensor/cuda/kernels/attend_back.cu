// The derivative of attend.cu. With P the probabilities, made again from the logarithm of their denominators,
// and D = rowsum(dO·O): dV = Pᵀ dO, dS = P (dO Vᵀ - D) scale, dQ = dS K, dK = dSᵀ Q (Dao et al. 2022, algorithm 4).
// One kernel walks the queries for a tile of keys, another the keys for a tile of queries. That makes seven products
// instead of five, but every sum has one order, and none needs atomics or a second buffer.

// delta[sequence, head, position] = the sum of out * d_out over a head's values. One warp a sum.
template <class T>
__device__ __forceinline__ void attend_delta(const T *out, int out_stride, int out_step, const T *d_out,
                                             int d_out_stride, int d_out_step, float *delta, int sequences, int length,
                                             int heads, int dim) {
  const long long i = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
  if (i >= (long long)sequences * heads * length) return;
  const int head = (int)(i / length % heads), lane = threadIdx.x & 31;
  const long long row = i / length / heads * length + i % length;
  const T *x = head_rows(out, row, out_stride, head, out_step), *y = head_rows(d_out, row, d_out_stride, head, d_out_step);
  float sum = 0.f;
  for (int j = lane; j < dim; j += 32) sum += load(x + j) * load(y + j);
  sum = warp_sum(sum);
  if (lane == 0) delta[i] = sum;
}

extern "C" __global__ void attend_delta_bf16(const bf16 *out, int out_stride, int out_step, const bf16 *d_out,
                                             int d_out_stride, int d_out_step, float *delta, int sequences, int length,
                                             int heads, int dim) {
  attend_delta(out, out_stride, out_step, d_out, d_out_stride, d_out_step, delta, sequences, length, heads, dim);
}

extern "C" __global__ void attend_delta_f32(const float *out, int out_stride, int out_step, const float *d_out,
                                            int d_out_stride, int d_out_step, float *delta, int sequences, int length,
                                            int heads, int dim) {
  attend_delta(out, out_stride, out_step, d_out, d_out_stride, d_out_step, delta, sequences, length, heads, dim);
}

#define BACK_KEYS_ARGS \
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride, \
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta, \
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step, int length, int heads, int group, \
    int qk_dim, int v_dim, float scale
#define BACK_KEYS_PASS \
    q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, d_out, d_out_stride, d_out_step, log_sum, \
    delta, dk, dk_stride, dk_step, dv, dv_stride, dv_step, length, heads, group, qk_dim, v_dim, scale

// Starts copying a tile of one head's queries and of the derivatives of their outputs, with their sums.
template <int QK, int V, int BM, int THREADS>
__device__ __forceinline__ void load_queries(bf16 *qs, bf16 *os, float *sums, const bf16 *q, int q_stride,
                                             const bf16 *d_out, int d_out_stride, const float *log_sum,
                                             const float *delta, int rows, int qk_dim, int v_dim) {
  load_tile<BM, QK, THREADS>(qs, q, q_stride, rows, qk_dim);
  load_tile<BM, V, THREADS>(os, d_out, d_out_stride, rows, v_dim);
  static_assert(2 * BM <= THREADS, "a thread copies one sum");
  if (threadIdx.x < 2 * BM) {
    const int row = threadIdx.x % BM;
    const float *from = threadIdx.x < BM ? log_sum : delta;
    copy_async4(sums + threadIdx.x, from + row, row < rows);
  }
}

// Turns scores of keys (rows) and queries (columns) into probabilities, 0 where the key is after the query. The first
// score is of key k and query q; log_sums are the queries'.
template <int M, int N>
__device__ __forceinline__ void probabilities(float (&s)[M][N][4], const float *log_sums, int k, int q, bool mask, float c) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int col = 8 * n + 2 * (lane & 3) + i;
      const float offset = log_sums[col] * 1.44269504f;
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          float &x = s[m][n][2 * h + i];
          x = fast_exp2(x * c - offset);
          if (mask && k + (lane >> 2) + 16 * m + 8 * h > q + col) x = 0.f;
        }
    }
}

// dp = p (dp - delta), delta being the columns'.
template <int M, int N>
__device__ __forceinline__ void softmax_back(float (&dp)[M][N][4], const float (&p)[M][N][4], const float *delta) {
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float d = delta[8 * n + 2 * (threadIdx.x & 3) + i];
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) dp[m][n][2 * h + i] = p[m][n][2 * h + i] * (dp[m][n][2 * h + i] - d);
    }
}

// Adds one tile of queries' part to the derivatives of a warp's keys and values, whose rows of tiles begin at row. Its
// first key is k, the first query q.
template <int QK, int V, int M, int BM, bool KEYS, bool VALUES>
__device__ __forceinline__ void keys_step(float (&d_keys)[M][QK / 8][4], float (&d_values)[M][V / 8][4], const bf16 *ks,
                                          const bf16 *vs, int row, const bf16 *qs, const float *sums, int k, int q, float scale) {
  const bf16 *os = qs + BM * QK;
  float p[M][BM / 8][4];
  unsigned left[M][BM / 16][4];
  product_nt<QK, M, BM>(p, ks, row, qs);
  probabilities(p, sums, k, q, k + 16 * M - 1 > q, scale * 1.44269504f);
  if (VALUES) {
    pack_left<M, BM>(left, p);
    product_nn<V, M, BM>(d_values, left, os);
  }
  if (KEYS) {
    float dp[M][BM / 8][4];
    product_nt<V, M, BM>(dp, vs, row, os);
    softmax_back(dp, p, sums + BM);
    pack_left<M, BM>(left, dp);
    product_nn<QK, M, BM>(d_keys, left, qs);
  }
}

// The derivatives of a tile of M*64 keys (KEYS) and of their values (VALUES), for all query heads that share them. Grid:
// key tiles, key heads, sequences; the tiles with the most queries first. A warp has M*16 keys as the rows of its
// scores, so that its probabilities are the left operand of the next product as they lie in its registers.
template <int QK, int V, int M, int BM, bool KEYS, bool VALUES>
__device__ __forceinline__ void attend_back_keys(BACK_KEYS_ARGS) {
  constexpr int THREADS = 128, BN = M * 64;
  DYNAMIC_SHARED(bf16, shared);
  bf16 *ks = shared, *vs = ks + BN * QK, *queries = vs + (KEYS ? BN * V : 0);
  float *sums = (float *)(queries + 2 * BM * (QK + V));
  const int from = blockIdx.x * BN, kv = blockIdx.y, row = threadIdx.x / 32 * M * 16, rows = min(BN, length - from);
  const long long start = (long long)blockIdx.z * length;
  const int first = from / BM * BM, last = (kv + 1) * group;
  int next = first, next_head = kv * group; // what fetch copies
  auto fetch = [&](int step) {
    const int at = next, head = next_head;
    const long long sum = ((long long)blockIdx.z * heads + head) * length + at;
    bf16 *qs = queries + (step & 1) * BM * (QK + V);
    load_queries<QK, V, BM, THREADS>(qs, qs + BM * QK, sums + (step & 1) * 2 * BM,
                                     head_rows(q, start + at, q_stride, head, q_step), q_stride,
                                     head_rows(d_out, start + at, d_out_stride, head, d_out_step), d_out_stride,
                                     log_sum + sum, delta + sum, length - at, qk_dim, v_dim);
    next += BM;
    if (next >= length) next = first, next_head++;
  };
  load_tile<BN, QK, THREADS>(ks, head_rows(k, start + from, k_stride, kv, k_step), k_stride, rows, qk_dim);
  if (KEYS) load_tile<BN, V, THREADS>(vs, head_rows(v, start + from, v_stride, kv, v_step), v_stride, rows, v_dim);
  fetch(0);
  copy_async_commit();

  float d_keys[M][QK / 8][4], d_values[M][V / 8][4];
  if (KEYS) clear(d_keys);
  if (VALUES) clear(d_values);
  for (int step = 0, at = first; at >= 0; step++) {
    const int following = next_head < last ? next : -1;
    if (following >= 0) fetch(step + 1);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    if (from + row <= at + BM - 1)
      keys_step<QK, V, M, BM, KEYS, VALUES>(d_keys, d_values, ks, vs, row, queries + (step & 1) * BM * (QK + V),
                                            sums + (step & 1) * 2 * BM, from + row, at, scale);
    __syncthreads();
    at = following;
  }
  float factor[M][2];
#pragma unroll
  for (int m = 0; m < M; m++) factor[m][0] = factor[m][1] = scale;
  if (KEYS)
    store_rows<QK, M>(head_rows(dk, start + from, dk_stride, kv, dk_step), dk_stride, rows, qk_dim, ks, row, d_keys, factor);
#pragma unroll
  for (int m = 0; m < M; m++) factor[m][0] = factor[m][1] = 1.f;
  if (VALUES)
    store_rows<V, M>(head_rows(dv, start + from, dv_stride, kv, dv_step), dv_stride, rows, v_dim, KEYS ? vs : ks, row,
                     d_values, factor);
}

#define BACK_QUERIES_ARGS \
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride, \
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta, \
    bf16 *dq, int dq_stride, int dq_step, int length, int heads, int group, int qk_dim, int v_dim, float scale
#define BACK_QUERIES_PASS \
    q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, d_out, d_out_stride, d_out_step, log_sum, \
    delta, dq, dq_stride, dq_step, length, heads, group, qk_dim, v_dim, scale

// dp = p (dp - mean), p being the probabilities of scores s; offset and mean are the rows'.
template <int M, int N>
__device__ __forceinline__ void scores_back(float (&dp)[M][N][4], const float (&s)[M][N][4], float c,
                                            const float (&offset)[M][2], const float (&mean)[M][2]) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        dp[m][n][i] = fast_exp2(s[m][n][i] * c - offset[m][i >> 1]) * (dp[m][n][i] - mean[m][i >> 1]);
}

// The derivatives of a tile of M*64 queries. Grid: query tiles, heads, sequences; the tiles with the most keys first.
template <int QK, int V, int M, int BN> __device__ __forceinline__ void attend_back_queries(BACK_QUERIES_ARGS) {
  constexpr int THREADS = 128, BM = M * 64;
  DYNAMIC_SHARED(bf16, shared);
  bf16 *qs = shared, *os = qs + BM * QK, *tiles = os + BM * V;
  const int from = (gridDim.x - 1 - blockIdx.x) * BM, head = blockIdx.y, kv = head / group, lane = threadIdx.x & 31;
  const int row = threadIdx.x / 32 * M * 16, rows = min(BM, length - from);
  const long long start = (long long)blockIdx.z * length;
  k = head_rows(k, start, k_stride, kv, k_step);
  v = head_rows(v, start, v_stride, kv, v_step);
  auto fetch = [&](int at) {
    bf16 *ks = tiles + (at / BN & 1) * BN * (QK + V);
    load_tile<BN, QK, THREADS>(ks, k + (long long)at * k_stride, k_stride, length - at, qk_dim);
    load_tile<BN, V, THREADS>(ks + BN * QK, v + (long long)at * v_stride, v_stride, length - at, v_dim);
  };
  load_tile<BM, QK, THREADS>(qs, head_rows(q, start + from, q_stride, head, q_step), q_stride, rows, qk_dim);
  load_tile<BM, V, THREADS>(os, head_rows(d_out, start + from, d_out_stride, head, d_out_step), d_out_stride, rows, v_dim);
  fetch(0);
  copy_async_commit();

  float acc[M][QK / 8][4], offset[M][2], mean[M][2];
  clear(acc);
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int r = row + 16 * m + 8 * h + (lane >> 2);
      const long long sum = ((long long)blockIdx.z * heads + head) * length + from + min(r, rows - 1);
      offset[m][h] = log_sum[sum] * 1.44269504f;
      mean[m][h] = delta[sum];
    }
  const int keys = from + rows;
  for (int at = 0; at < keys; at += BN) {
    if (at + BN < keys) fetch(at + BN);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    const bf16 *ks = tiles + (at / BN & 1) * BN * (QK + V);
    if (at <= from + row + M * 16 - 1) {
      float s[M][BN / 8][4], dp[M][BN / 8][4];
      product_nt<QK, M, BN>(s, qs, row, ks);
      if (at + BN - 1 > from + row) mask_after(s, from + row, at);
      product_nt<V, M, BN>(dp, os, row, ks + BN * QK);
      scores_back(dp, s, scale * 1.44269504f, offset, mean);
      unsigned left[M][BN / 16][4];
      pack_left<M, BN>(left, dp);
      product_nn<QK, M, BN>(acc, left, ks);
    }
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < M; m++) offset[m][0] = offset[m][1] = scale;
  store_rows<QK, M>(head_rows(dq, start + from, dq_stride, head, dq_step), dq_stride, rows, qk_dim, qs, row, acc, offset);
}

extern "C" __global__ void attend_back_keys_64_64_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step, int length, int heads, int group,
    int qk_dim, int v_dim, float scale) {
  attend_back_keys<64, 64, 2, 32, true, true>(BACK_KEYS_PASS);
}

extern "C" __global__ void attend_back_keys_128_128_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step, int length, int heads, int group,
    int qk_dim, int v_dim, float scale) {
  attend_back_keys<128, 128, 1, 32, true, true>(BACK_KEYS_PASS);
}

extern "C" __global__ void attend_back_keys_192_128_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step, int length, int heads, int group,
    int qk_dim, int v_dim, float scale) {
  attend_back_keys<192, 128, 1, 32, true, true>(BACK_KEYS_PASS);
}

// Heads this wide leave no registers for both sums: one kernel for keys, and one for values.
extern "C" __global__ void attend_back_keys_256_256_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step, int length, int heads, int group,
    int qk_dim, int v_dim, float scale) {
  attend_back_keys<256, 256, 1, 16, true, false>(BACK_KEYS_PASS);
}

extern "C" __global__ void attend_back_values_256_256_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step, int length, int heads, int group,
    int qk_dim, int v_dim, float scale) {
  attend_back_keys<256, 256, 1, 16, false, true>(BACK_KEYS_PASS);
}

extern "C" __global__ void attend_back_queries_64_64_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dq, int dq_stride, int dq_step, int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_queries<64, 64, 2, 32>(BACK_QUERIES_PASS);
}

extern "C" __global__ void attend_back_queries_128_128_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dq, int dq_stride, int dq_step, int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_queries<128, 128, 1, 32>(BACK_QUERIES_PASS);
}

extern "C" __global__ void attend_back_queries_192_128_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dq, int dq_stride, int dq_step, int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_queries<192, 128, 1, 32>(BACK_QUERIES_PASS);
}

extern "C" __global__ void attend_back_queries_256_256_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride,
    int v_step, const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dq, int dq_stride, int dq_step, int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_queries<256, 256, 1, 16>(BACK_QUERIES_PASS);
}
