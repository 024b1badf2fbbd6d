// Causal softmax attention without tensor cores, for single precision and for bf16 rows that do not begin at multiples
// of 16 bytes; heads of at most 256 values. The method is that of attend.cu and attend_back.cu. A block of four warps
// has 16 rows, four a warp, against tiles of 32 columns, one a lane; sums over columns have 32 values apart in a lane.

enum { PLAIN_ROWS = 16, PLAIN_COLS = 32, PLAIN_WIDTH = 8 }; // the last: values of a row in a lane

// Copies rows to a tile of rows pitch apart, with zeros beyond the valid rows.
template <class T>
__device__ __forceinline__ void plain_load(float *tile, int pitch, const T *from, int stride, int size, int rows, int dim) {
  for (int i = threadIdx.x; i < size * dim; i += blockDim.x) {
    const int row = i / dim, col = i % dim;
    tile[row * pitch + col] = row < rows ? load(from + (long long)row * stride + col) : 0.f;
  }
}

// s[r] = the product of row r of a, of a warp's four, with the lane's row of the tile b.
__device__ __forceinline__ void plain_scores(float (&s)[4], const float *a, const float *b, int dim) {
  b += (threadIdx.x & 31) * (dim + 1);
  s[0] = s[1] = s[2] = s[3] = 0.f;
  for (int i = 0; i < dim; i++) {
    const float y = b[i];
#pragma unroll
    for (int r = 0; r < 4; r++) s[r] += a[r * dim + i] * y;
  }
}

// acc[r] += the sum over columns j of p[r] of lane j times row j of the tile b. exchange is the warp's own.
__device__ __forceinline__ void plain_sum(float (&acc)[4][PLAIN_WIDTH], const float (&p)[4], float4 *exchange,
                                          const float *b, int dim) {
  const int lane = threadIdx.x & 31;
  __syncwarp();
  exchange[lane] = make_float4(p[0], p[1], p[2], p[3]);
  __syncwarp();
  for (int j = 0; j < PLAIN_COLS; j++) {
    const float4 x = exchange[j];
#pragma unroll
    for (int i = 0; i < PLAIN_WIDTH; i++)
      if (32 * i + lane < dim) {
        const float y = b[j * (dim + 1) + 32 * i + lane];
        acc[0][i] += x.x * y, acc[1][i] += x.y * y, acc[2][i] += x.z * y, acc[3][i] += x.w * y;
      }
  }
}

__device__ __forceinline__ void plain_clear(float (&acc)[4][PLAIN_WIDTH]) {
#pragma unroll
  for (int r = 0; r < 4; r++)
#pragma unroll
    for (int i = 0; i < PLAIN_WIDTH; i++) acc[r][i] = 0.f;
}

// Writes a warp's four rows, times factor.
template <class T>
__device__ __forceinline__ void plain_store(T *to, int stride, int rows, int dim, const float (&acc)[4][PLAIN_WIDTH],
                                            const float (&factor)[4]) {
  const int lane = threadIdx.x & 31, row = threadIdx.x / 32 * 4;
#pragma unroll
  for (int r = 0; r < 4; r++)
#pragma unroll
    for (int i = 0; i < PLAIN_WIDTH; i++)
      if (row + r < rows && 32 * i + lane < dim) store(to + (long long)(row + r) * stride + 32 * i + lane, acc[r][i] * factor[r]);
}

template <class T> __device__ __forceinline__ void attend_plain(
    const T *q, int q_stride, int q_step, const T *k, int k_stride, int k_step, const T *v, int v_stride, int v_step,
    T *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim, int v_dim,
    float scale) {
  DYNAMIC_SHARED(float, shared);
  float *qs = shared + 4 * 32 * 4, *ks = qs + PLAIN_ROWS * qk_dim, *vs = ks + PLAIN_COLS * (qk_dim + 1);
  const int from = (gridDim.x - 1 - blockIdx.x) * PLAIN_ROWS, head = blockIdx.y, kv = head / group;
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = warp * 4, rows = min((int)PLAIN_ROWS, length - from);
  float4 *exchange = (float4 *)shared + warp * 32;
  const long long start = (long long)blockIdx.z * length;
  plain_load(qs, qk_dim, head_rows(q, start + from, q_stride, head, q_step), q_stride, PLAIN_ROWS, rows, qk_dim);
  float acc[4][PLAIN_WIDTH], top[4], sum[4], s[4];
  plain_clear(acc);
#pragma unroll
  for (int r = 0; r < 4; r++) top[r] = -INFINITE, sum[r] = 0.f;
  for (int at = 0; at < from + rows; at += PLAIN_COLS) {
    __syncthreads();
    plain_load(ks, qk_dim + 1, head_rows(k, start + at, k_stride, kv, k_step), k_stride, PLAIN_COLS, length - at, qk_dim);
    plain_load(vs, v_dim + 1, head_rows(v, start + at, v_stride, kv, v_step), v_stride, PLAIN_COLS, length - at, v_dim);
    __syncthreads();
    plain_scores(s, qs + row * qk_dim, ks, qk_dim);
#pragma unroll
    for (int r = 0; r < 4; r++) {
      const float score = at + lane > from + row + r ? -INFINITE : s[r] * scale;
      const float best = fmaxf(top[r], warp_max(score)), shrink = expf(top[r] - best);
      s[r] = expf(score - best);
      sum[r] = sum[r] * shrink + s[r];
      top[r] = best;
#pragma unroll
      for (int i = 0; i < PLAIN_WIDTH; i++) acc[r][i] *= shrink;
    }
    plain_sum(acc, s, exchange, vs, v_dim);
  }
  float *sums = log_sum + ((long long)blockIdx.z * heads + head) * length + from;
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const float total = warp_sum(sum[r]);
    sum[r] = 1.f / total;
    if (lane == 0 && row + r < rows) sums[row + r] = top[r] + logf(total);
  }
  plain_store(head_rows(out, start + from, out_stride, head, out_step), out_stride, rows, v_dim, acc, sum);
}

template <class T> __device__ __forceinline__ void attend_back_queries_plain(
    const T *q, int q_stride, int q_step, const T *k, int k_stride, int k_step, const T *v, int v_stride, int v_step,
    const T *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    T *dq, int dq_stride, int dq_step,
    int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  DYNAMIC_SHARED(float, shared);
  float *qs = shared + 4 * 32 * 4, *os = qs + PLAIN_ROWS * qk_dim;
  float *ks = os + PLAIN_ROWS * v_dim, *vs = ks + PLAIN_COLS * (qk_dim + 1);
  const int from = (gridDim.x - 1 - blockIdx.x) * PLAIN_ROWS, head = blockIdx.y, kv = head / group;
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = warp * 4, rows = min((int)PLAIN_ROWS, length - from);
  const long long start = (long long)blockIdx.z * length, sum = ((long long)blockIdx.z * heads + head) * length + from;
  plain_load(qs, qk_dim, head_rows(q, start + from, q_stride, head, q_step), q_stride, PLAIN_ROWS, rows, qk_dim);
  plain_load(os, v_dim, head_rows(d_out, start + from, d_out_stride, head, d_out_step), d_out_stride, PLAIN_ROWS, rows, v_dim);
  float acc[4][PLAIN_WIDTH], s[4], dp[4];
  plain_clear(acc);
  for (int at = 0; at < from + rows; at += PLAIN_COLS) {
    __syncthreads();
    plain_load(ks, qk_dim + 1, head_rows(k, start + at, k_stride, kv, k_step), k_stride, PLAIN_COLS, length - at, qk_dim);
    plain_load(vs, v_dim + 1, head_rows(v, start + at, v_stride, kv, v_step), v_stride, PLAIN_COLS, length - at, v_dim);
    __syncthreads();
    plain_scores(s, qs + row * qk_dim, ks, qk_dim);
    plain_scores(dp, os + row * v_dim, vs, v_dim);
#pragma unroll
    for (int r = 0; r < 4; r++) {
      const bool in = row + r < rows && at + lane <= from + row + r;
      dp[r] = in ? expf(s[r] * scale - log_sum[sum + row + r]) * (dp[r] - delta[sum + row + r]) : 0.f;
    }
    plain_sum(acc, dp, (float4 *)shared + warp * 32, ks, qk_dim);
  }
  const float factor[4] = {scale, scale, scale, scale};
  plain_store(head_rows(dq, start + from, dq_stride, head, dq_step), dq_stride, rows, qk_dim, acc, factor);
}

template <class T> __device__ __forceinline__ void attend_back_keys_plain(
    const T *q, int q_stride, int q_step, const T *k, int k_stride, int k_step, const T *v, int v_stride, int v_step,
    const T *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    T *dk, int dk_stride, int dk_step, T *dv, int dv_stride, int dv_step,
    int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  DYNAMIC_SHARED(float, shared);
  float *ks = shared + 4 * 32 * 4, *vs = ks + PLAIN_ROWS * qk_dim;
  float *qs = vs + PLAIN_ROWS * v_dim, *os = qs + PLAIN_COLS * (qk_dim + 1);
  const int from = blockIdx.x * PLAIN_ROWS, kv = blockIdx.y;
  const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, row = warp * 4, rows = min((int)PLAIN_ROWS, length - from);
  float4 *exchange = (float4 *)shared + warp * 32;
  const long long start = (long long)blockIdx.z * length;
  plain_load(ks, qk_dim, head_rows(k, start + from, k_stride, kv, k_step), k_stride, PLAIN_ROWS, rows, qk_dim);
  plain_load(vs, v_dim, head_rows(v, start + from, v_stride, kv, v_step), v_stride, PLAIN_ROWS, rows, v_dim);
  float d_keys[4][PLAIN_WIDTH], d_values[4][PLAIN_WIDTH], p[4], dp[4];
  plain_clear(d_keys);
  plain_clear(d_values);
  for (int head = kv * group; head < (kv + 1) * group; head++) {
    const long long sum = ((long long)blockIdx.z * heads + head) * length;
    for (int at = from / PLAIN_COLS * PLAIN_COLS; at < length; at += PLAIN_COLS) {
      __syncthreads();
      plain_load(qs, qk_dim + 1, head_rows(q, start + at, q_stride, head, q_step), q_stride, PLAIN_COLS, length - at, qk_dim);
      plain_load(os, v_dim + 1, head_rows(d_out, start + at, d_out_stride, head, d_out_step), d_out_stride, PLAIN_COLS,
                 length - at, v_dim);
      __syncthreads();
      plain_scores(p, ks + row * qk_dim, qs, qk_dim);
      plain_scores(dp, vs + row * v_dim, os, v_dim);
      const bool query = at + lane < length;
      const float offset = query ? log_sum[sum + at + lane] : 0.f, mean = query ? delta[sum + at + lane] : 0.f;
#pragma unroll
      for (int r = 0; r < 4; r++) {
        p[r] = query && from + row + r <= at + lane ? expf(p[r] * scale - offset) : 0.f;
        dp[r] = p[r] * (dp[r] - mean);
      }
      plain_sum(d_values, p, exchange, os, v_dim);
      plain_sum(d_keys, dp, exchange, qs, qk_dim);
    }
  }
  const float factor[4] = {scale, scale, scale, scale}, one[4] = {1.f, 1.f, 1.f, 1.f};
  plain_store(head_rows(dk, start + from, dk_stride, kv, dk_step), dk_stride, rows, qk_dim, d_keys, factor);
  plain_store(head_rows(dv, start + from, dv_stride, kv, dv_step), dv_stride, rows, v_dim, d_values, one);
}

extern "C" __global__ void attend_plain_f32(
    const float *q, int q_stride, int q_step, const float *k, int k_stride, int k_step, const float *v, int v_stride, int v_step,
    float *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim, int v_dim,
    float scale) {
  attend_plain(q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, out, out_stride, out_step, log_sum,
  length, heads, group, qk_dim, v_dim, scale);
}

extern "C" __global__ void attend_back_keys_plain_f32(
    const float *q, int q_stride, int q_step, const float *k, int k_stride, int k_step, const float *v, int v_stride, int v_step,
    const float *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    float *dk, int dk_stride, int dk_step, float *dv, int dv_stride, int dv_step,
    int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_keys_plain(q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, d_out, d_out_stride,
  d_out_step, log_sum, delta, dk, dk_stride, dk_step, dv, dv_stride, dv_step, length, heads, group, qk_dim, v_dim,
  scale);
}

extern "C" __global__ void attend_back_queries_plain_f32(
    const float *q, int q_stride, int q_step, const float *k, int k_stride, int k_step, const float *v, int v_stride, int v_step,
    const float *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    float *dq, int dq_stride, int dq_step,
    int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_queries_plain(q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, d_out, d_out_stride,
  d_out_step, log_sum, delta, dq, dq_stride, dq_step, length, heads, group, qk_dim, v_dim, scale);
}

extern "C" __global__ void attend_plain_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride, int v_step,
    bf16 *out, int out_stride, int out_step, float *log_sum, int length, int heads, int group, int qk_dim, int v_dim,
    float scale) {
  attend_plain(q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, out, out_stride, out_step, log_sum,
  length, heads, group, qk_dim, v_dim, scale);
}

extern "C" __global__ void attend_back_keys_plain_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride, int v_step,
    const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dk, int dk_stride, int dk_step, bf16 *dv, int dv_stride, int dv_step,
    int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_keys_plain(q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, d_out, d_out_stride,
  d_out_step, log_sum, delta, dk, dk_stride, dk_step, dv, dv_stride, dv_step, length, heads, group, qk_dim, v_dim,
  scale);
}

extern "C" __global__ void attend_back_queries_plain_bf16(
    const bf16 *q, int q_stride, int q_step, const bf16 *k, int k_stride, int k_step, const bf16 *v, int v_stride, int v_step,
    const bf16 *d_out, int d_out_stride, int d_out_step, const float *log_sum, const float *delta,
    bf16 *dq, int dq_stride, int dq_step,
    int length, int heads, int group, int qk_dim, int v_dim, float scale) {
  attend_back_queries_plain(q, q_stride, q_step, k, k_stride, k_step, v, v_stride, v_step, d_out, d_out_stride,
  d_out_step, log_sum, delta, dq, dq_stride, dq_step, length, heads, group, qk_dim, v_dim, scale);
}
