// The derivative of experts' inner rows, between the products.

// N values that are read and written together.
template <class T, int N> struct __align__(sizeof(T) * N) packet { T v[N]; };

// A warp's row, of packets of N values. With d the derivative of the row act before its output is weighted: the weight's
// derivative is the sum of act*d, act is weighted, and gate and up become their own derivatives.
template <class T, int N>
__device__ __forceinline__ void inner_row_back(T *gate, T *up, T *act, const T *d_act, float weight, float *d_weight, int width) {
  typedef packet<T, N> pack;
  pack *gates = (pack *)gate, *ups = (pack *)up, *acts = (pack *)act;
  const pack *slopes = (const pack *)d_act;
  float sum = 0.f;
  for (int i = threadIdx.x & 31; i < width / N; i += 32) {
    pack g = gates[i], u = ups[i], a = acts[i];
    const pack d = slopes[i];
#pragma unroll
    for (int j = 0; j < N; j++) {
      const float x = load(&g.v[j]), y = load(&u.v[j]), z = load(&a.v[j]), slope = load(&d.v[j]);
      const float s = 1.f / (1.f + expf(-x)), weighted = slope * weight;
      sum += z * slope;
      store(&a.v[j], z * weight);
      store(&g.v[j], weighted * y * s * (1.f + x * (1.f - s)));
      store(&u.v[j], weighted * x * s);
    }
    gates[i] = g, ups[i] = u, acts[i] = a;
  }
  sum = warp_sum(sum);
  if (d_weight && (threadIdx.x & 31) == 0) *d_weight = sum;
}

// A warp has a place. Rows that begin at multiples of 16 bytes are read so; packed says whether all do.
template <class T>
__device__ __forceinline__ void experts_inner_back(T *gate, T *up, T *act, const T *d_act, const float *weights, const int *slot,
                                                   float *d_weights, int slots, int width, int packed) {
  const int place = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (place >= slots) return;
  const long long at = (long long)place * width;
  const int to = slot[place];
  float *d_weight = d_weights ? d_weights + to : nullptr;
  if (packed) inner_row_back<T, 16 / sizeof(T)>(gate + at, up + at, act + at, d_act + at, weights[to], d_weight, width);
  else inner_row_back<T, 1>(gate + at, up + at, act + at, d_act + at, weights[to], d_weight, width);
}

extern "C" __global__ void experts_inner_back_f32(float *gate, float *up, float *act, const float *d_act, const float *weights,
                                                  const int *slot, float *d_weights, int slots, int width, int packed) {
  experts_inner_back(gate, up, act, d_act, weights, slot, d_weights, slots, width, packed);
}

extern "C" __global__ void experts_inner_back_bf16(bf16 *gate, bf16 *up, bf16 *act, const bf16 *d_act, const float *weights,
                                                   const int *slot, float *d_weights, int slots, int width, int packed) {
  experts_inner_back(gate, up, act, d_act, weights, slot, d_weights, slots, width, packed);
}
