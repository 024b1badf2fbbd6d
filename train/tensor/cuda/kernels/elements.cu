// Operations on each value by itself: four neighbours for a thread.

#define EACH4(n) \
    for (long long step = 4ll * gridDim.x * blockDim.x, i = 4 * ((long long)blockIdx.x * blockDim.x + threadIdx.x); i < (n); \
         i += step)

__device__ __forceinline__ int left(long long n, long long i) { return (int)min(n - i, 4ll); }

// dst = gate sigmoid(gate) up.
template <class T> __device__ void swiglu(T *dst, const T *gate, const T *up, long long n) {
    EACH4(n) {
        float g[4], u[4];
        load4(g, gate + i, left(n, i));
        load4(u, up + i, left(n, i));
        for (int j = 0; j < 4; j++) g[j] = g[j] / (1 + expf(-g[j])) * u[j];
        store4(dst + i, g, left(n, i));
    }
}
extern "C" __global__ void swiglu_f32(float *dst, const float *gate, const float *up, long long n) { swiglu(dst, gate, up, n); }
extern "C" __global__ void swiglu_bf16(bf16 *dst, const bf16 *gate, const bf16 *up, long long n) { swiglu(dst, gate, up, n); }

// Replaces gate and up by their derivatives for grad, that of the result.
template <class T> __device__ void swiglu_back(const T *grad, T *gate, T *up, long long n) {
    EACH4(n) {
        float d[4], g[4], u[4];
        load4(d, grad + i, left(n, i));
        load4(g, gate + i, left(n, i));
        load4(u, up + i, left(n, i));
        for (int j = 0; j < 4; j++) {
            float s = 1 / (1 + expf(-g[j])), v = g[j];
            g[j] = d[j] * u[j] * s * (1 + v * (1 - s));
            u[j] = d[j] * v * s;
        }
        store4(gate + i, g, left(n, i));
        store4(up + i, u, left(n, i));
    }
}
extern "C" __global__ void swiglu_back_f32(const float *grad, float *gate, float *up, long long n) {
    swiglu_back(grad, gate, up, n);
}
extern "C" __global__ void swiglu_back_bf16(const bf16 *grad, bf16 *gate, bf16 *up, long long n) {
    swiglu_back(grad, gate, up, n);
}

// dst += a x.
template <class T, class X> __device__ void add(T *dst, const X *x, float a, long long n) {
    EACH4(n) {
        float v[4], w[4];
        load4(v, dst + i, left(n, i));
        load4(w, x + i, left(n, i));
        for (int j = 0; j < 4; j++) v[j] += a * w[j];
        store4(dst + i, v, left(n, i));
    }
}
extern "C" __global__ void add_f32(float *dst, const float *x, float a, long long n) { add(dst, x, a, n); }
extern "C" __global__ void add_bf16(bf16 *dst, const bf16 *x, float a, long long n) { add(dst, x, a, n); }
extern "C" __global__ void add_bf16_to_f32(float *dst, const bf16 *x, float a, long long n) { add(dst, x, a, n); }
extern "C" __global__ void add_f32_to_bf16(bf16 *dst, const float *x, float a, long long n) { add(dst, x, a, n); }
