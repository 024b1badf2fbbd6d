// Products of experts' rows without tensor cores, for single precision and for bf16 rows that do not begin at multiples of
// 16 bytes. See experts.cu. A block of 256 threads has a tile of 64 by 64 values, a thread 4 rows and 4 columns that are
// 16 apart.

enum { SIDE = 64, DEPTH = 16, PER = 4 };

// Values (i, k) of a matrix at p[i*row + k*term].
template <class T> struct strided { const T *p; long long row, term; };

// Copies a tile of SIDE rows and DEPTH terms, with zeros beyond, so that neighbouring threads read neighbouring values.
template <class T> __device__ __forceinline__ void plain_tile(float (*tile)[SIDE + 1], strided<T> a, int rows, int terms) {
  for (int i = threadIdx.x; i < SIDE * DEPTH; i += blockDim.x) {
    const int row = a.term == 1 ? i / DEPTH : i % SIDE, term = a.term == 1 ? i % DEPTH : i / SIDE;
    tile[term][row] = row < rows && term < terms ? load(a.p + row * a.row + term * a.term) : 0.f;
  }
}

// acc += a bᵀ over so many terms; the columns of the result are the rows of b.
template <class T>
__device__ __forceinline__ void plain_product(float (&acc)[PER][PER], strided<T> a, int rows, strided<T> b, int cols, int terms) {
  __shared__ float left[DEPTH][SIDE + 1], right[DEPTH][SIDE + 1];
  const int y = threadIdx.x / 16, x = threadIdx.x % 16;
  for (int k = 0; k < terms; k += DEPTH) {
    __syncthreads();
    plain_tile(left, strided<T>{a.p + k * a.term, a.row, a.term}, rows, terms - k);
    plain_tile(right, strided<T>{b.p + k * b.term, b.row, b.term}, cols, terms - k);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < DEPTH; i++)
#pragma unroll
      for (int r = 0; r < PER; r++)
#pragma unroll
        for (int c = 0; c < PER; c++) acc[r][c] += left[i][y + 16 * r] * right[i][x + 16 * c];
  }
}

// Calls set(row, column, r, c) for the thread's values within the result.
template <class Set> __device__ __forceinline__ void plain_values(int rows, int cols, Set set) {
  const int y = threadIdx.x / 16, x = threadIdx.x % 16;
#pragma unroll
  for (int r = 0; r < PER; r++)
#pragma unroll
    for (int c = 0; c < PER; c++)
      if (y + 16 * r < rows && x + 16 * c < cols) set(y + 16 * r, x + 16 * c, r, c);
}

template <class T>
__device__ __forceinline__ void experts_gate_up_plain(const T *x, const T *const *gates, const T *const *ups, T *gate, T *up,
                                                      T *act, const int *start, int experts, int hidden, int width) {
  const expert_tile t = find_tile(start, experts, blockIdx.y, SIDE);
  if (t.rows == 0) return;
  const int from = blockIdx.x * SIDE;
  const strided<T> in = {x + (long long)t.from * hidden, hidden, 1};
  float g[PER][PER] = {}, u[PER][PER] = {};
  plain_product(g, in, t.rows, strided<T>{gates[t.expert] + (long long)from * hidden, hidden, 1}, width - from, hidden);
  plain_product(u, in, t.rows, strided<T>{ups[t.expert] + (long long)from * hidden, hidden, 1}, width - from, hidden);
  plain_values(t.rows, width - from, [&](int row, int col, int r, int c) {
    const long long at = (long long)(t.from + row) * width + from + col;
    store(gate + at, g[r][c]);
    store(up + at, u[r][c]);
    store(act + at, g[r][c] / (1.f + expf(-g[r][c])) * u[r][c]);
  });
}

template <class T>
__device__ __forceinline__ void experts_nt_plain(const T *x, const T *const *weights, T *y, const int *start, int experts, int in,
                                                 int out) {
  const expert_tile t = find_tile(start, experts, blockIdx.y, SIDE);
  if (t.rows == 0) return;
  const int from = blockIdx.x * SIDE;
  float acc[PER][PER] = {};
  plain_product(acc, strided<T>{x + (long long)t.from * in, in, 1}, t.rows,
                strided<T>{weights[t.expert] + (long long)from * in, in, 1}, out - from, in);
  plain_values(t.rows, out - from, [&](int row, int col, int r, int c) {
    store(y + (long long)(t.from + row) * out + from + col, acc[r][c]);
  });
}

template <class T>
__device__ __forceinline__ void experts_nn_plain(const T *dy, const T *const *weights, const T *dy2, const T *const *weights2,
                                                 T *dx, const int *start, int experts, int in, int out) {
  const expert_tile t = find_tile(start, experts, blockIdx.y, SIDE);
  if (t.rows == 0) return;
  const int from = blockIdx.x * SIDE;
  float acc[PER][PER] = {};
  plain_product(acc, strided<T>{dy + (long long)t.from * out, out, 1}, t.rows, strided<T>{weights[t.expert] + from, 1, in},
                in - from, out);
  if (dy2)
    plain_product(acc, strided<T>{dy2 + (long long)t.from * out, out, 1}, t.rows, strided<T>{weights2[t.expert] + from, 1, in},
                  in - from, out);
  plain_values(t.rows, in - from, [&](int row, int col, int r, int c) {
    store(dx + (long long)(t.from + row) * in + from + col, acc[r][c]);
  });
}

template <class T>
__device__ __forceinline__ void experts_tn_plain(const T *dy, float *const *grads, const T *dy2, float *const *grads2, const T *x,
                                                 const int *start, const long long *trained, int count, int in, int out) {
  const bool second = blockIdx.z >= (unsigned)count;
  const int expert = (int)trained[second ? blockIdx.z - count : blockIdx.z];
  const int begin = start[expert], terms = start[expert + 1] - begin;
  float *grad = (second ? grads2 : grads)[expert];
  if (terms == 0 || !grad) return;
  const int from = blockIdx.x * SIDE, top = blockIdx.y * SIDE;
  float acc[PER][PER] = {};
  plain_product(acc, strided<T>{(second ? dy2 : dy) + (long long)begin * out + top, 1, out}, out - top,
                strided<T>{x + (long long)begin * in + from, 1, in}, in - from, terms);
  plain_values(out - top, in - from, [&](int row, int col, int r, int c) {
    grad[(long long)(top + row) * in + from + col] += acc[r][c];
  });
}

extern "C" __global__ void experts_gate_up_plain_f32(const float *x, const float *const *gates, const float *const *ups,
                                                     float *gate, float *up, float *act, const int *start, int experts,
                                                     int hidden, int width) {
  experts_gate_up_plain(x, gates, ups, gate, up, act, start, experts, hidden, width);
}

extern "C" __global__ void experts_nt_plain_f32(const float *x, const float *const *weights, float *y, const int *start,
                                                int experts, int in, int out) {
  experts_nt_plain(x, weights, y, start, experts, in, out);
}

extern "C" __global__ void experts_nn_plain_f32(const float *dy, const float *const *weights, const float *dy2,
                                                const float *const *weights2, float *dx, const int *start, int experts,
                                                int in, int out) {
  experts_nn_plain(dy, weights, dy2, weights2, dx, start, experts, in, out);
}

extern "C" __global__ void experts_tn_plain_f32(const float *dy, float *const *grads, const float *dy2,
                                                float *const *grads2, const float *x, const int *start,
                                                const long long *trained, int count, int in, int out) {
  experts_tn_plain(dy, grads, dy2, grads2, x, start, trained, count, in, out);
}

extern "C" __global__ void experts_gate_up_plain_bf16(const bf16 *x, const bf16 *const *gates, const bf16 *const *ups,
                                                      bf16 *gate, bf16 *up, bf16 *act, const int *start, int experts,
                                                      int hidden, int width) {
  experts_gate_up_plain(x, gates, ups, gate, up, act, start, experts, hidden, width);
}

extern "C" __global__ void experts_nt_plain_bf16(const bf16 *x, const bf16 *const *weights, bf16 *y, const int *start,
                                                 int experts, int in, int out) {
  experts_nt_plain(x, weights, y, start, experts, in, out);
}

extern "C" __global__ void experts_nn_plain_bf16(const bf16 *dy, const bf16 *const *weights, const bf16 *dy2,
                                                 const bf16 *const *weights2, bf16 *dx, const int *start, int experts,
                                                 int in, int out) {
  experts_nn_plain(dy, weights, dy2, weights2, dx, start, experts, in, out);
}

extern "C" __global__ void experts_tn_plain_bf16(const bf16 *dy, float *const *grads, const bf16 *dy2, float *const *grads2,
                                                 const bf16 *x, const int *start,
                                                 const long long *trained, int count, int in, int out) {
  experts_tn_plain(dy, grads, dy2, grads2, x, start, trained, count, in, out);
}
