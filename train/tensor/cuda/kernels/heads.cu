// Operations on the heads of rows: head h of row r begins at r*stride + h*step. A block takes one row.

// Turns the pairs (i, half+i) by the angles of position r%length.
template <class T>
__device__ void rotate(T *x, int stride, int step, int heads, int half, int length, const float *cos, const float *sin) {
    x += (long long)blockIdx.x * stride;
    int at = blockIdx.x % length * half;
    for (int n = threadIdx.x; n < heads * half; n += blockDim.x) {
        int h = n / half, i = n % half;
        T *first = x + (long long)h * step + i, *second = first + half;
        float a = load(first), b = load(second), c = cos[at + i], s = sin[at + i];
        store(first, a * c - b * s);
        store(second, b * c + a * s);
    }
}
extern "C" __global__ void rotate_f32(float *x, int stride, int step, int heads, int half, int length, const float *cos,
                                      const float *sin) {
    rotate(x, stride, step, heads, half, length, cos, sin);
}
extern "C" __global__ void rotate_bf16(bf16 *x, int stride, int step, int heads, int half, int length, const float *cos,
                                       const float *sin) {
    rotate(x, stride, step, heads, half, length, cos, sin);
}

// Moves the even values of each head before the odd ones if apart, else back; group heads at a time go through shared memory.
template <class T> __device__ void deinterleave(T *x, int stride, int step, int heads, int dim, int group, int apart) {
    DYNAMIC_SHARED(T, kept);
    x += (long long)blockIdx.x * stride;
    for (int from = 0; from < heads; from += group) {
        int n = min(group, heads - from) * dim;
        for (int i = threadIdx.x; i < n; i += blockDim.x) kept[i] = x[(long long)(from + i / dim) * step + i % dim];
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            int at = i % dim, half = dim / 2;
            int source = apart ? (at < half ? 2 * at : 2 * (at - half) + 1) : at / 2 + at % 2 * half;
            x[(long long)(from + i / dim) * step + at] = kept[i - at + source];
        }
        __syncthreads();
    }
}
extern "C" __global__ void deinterleave_f32(float *x, int stride, int step, int heads, int dim, int group, int apart) {
    deinterleave(x, stride, step, heads, dim, group, apart);
}
extern "C" __global__ void deinterleave_bf16(bf16 *x, int stride, int step, int heads, int dim, int group, int apart) {
    deinterleave(x, stride, step, heads, dim, group, apart);
}

// A key's head is the first nope values of the head of kv, then the rope shared values of the row.
template <class T>
__device__ void join_keys(T *k, const T *kv, const T *shared, int stride, int heads, int nope, int rope, int v) {
    int qk = nope + rope;
    long long row = (long long)blockIdx.x * heads;
    shared += (long long)blockIdx.x * stride;
    for (int n = threadIdx.x; n < heads * qk; n += blockDim.x) {
        int h = n / qk, i = n % qk;
        k[row * qk + n] = i < nope ? kv[(row + h) * (nope + v) + i] : shared[i - nope];
    }
}
extern "C" __global__ void join_keys_f32(float *k, const float *kv, const float *shared, int stride, int heads, int nope,
                                         int rope, int v) {
    join_keys(k, kv, shared, stride, heads, nope, rope, v);
}
extern "C" __global__ void join_keys_bf16(bf16 *k, const bf16 *kv, const bf16 *shared, int stride, int heads, int nope,
                                          int rope, int v) {
    join_keys(k, kv, shared, stride, heads, nope, rope, v);
}

// Its derivative: the heads' own values go to dkv, the shared ones are added up over the heads, in their order.
template <class T>
__device__ void split_keys(T *dkv, T *dshared, int stride, const T *dk, int heads, int nope, int rope, int v) {
    int qk = nope + rope;
    long long row = (long long)blockIdx.x * heads;
    dshared += (long long)blockIdx.x * stride;
    for (int n = threadIdx.x; n < heads * nope; n += blockDim.x) {
        int h = n / nope, i = n % nope;
        dkv[(row + h) * (nope + v) + i] = dk[(row + h) * qk + i];
    }
    for (int i = threadIdx.x; i < rope; i += blockDim.x) {
        float sum = 0;
        for (int h = 0; h < heads; h++) sum += load(dk + (row + h) * qk + nope + i);
        store(dshared + i, sum);
    }
}
extern "C" __global__ void split_keys_f32(float *dkv, float *dshared, int stride, const float *dk, int heads, int nope, int rope,
                                          int v) {
    split_keys(dkv, dshared, stride, dk, heads, nope, rope, v);
}
extern "C" __global__ void split_keys_bf16(bf16 *dkv, bf16 *dshared, int stride, const bf16 *dk, int heads, int nope, int rope,
                                           int v) {
    split_keys(dkv, dshared, stride, dk, heads, nope, rope, v);
}
