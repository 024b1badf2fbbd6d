// Rows that are copied by index. A block takes one row; values are moved as they are, so a row is so many units of 2, 4
// or 16 bytes.

template <class U> __device__ void copy_units(U *dst, const U *src, long long n) {
    for (long long i = threadIdx.x; i < n; i += blockDim.x) dst[i] = src[i];
}

__device__ void copy_row(char *dst, const char *src, long long bytes) {
    unsigned long long all = (unsigned long long)dst | (unsigned long long)src | (unsigned long long)bytes;
    if (all % 16 == 0) copy_units((uint4 *)dst, (const uint4 *)src, bytes / 16);
    else if (all % 4 == 0) copy_units((unsigned *)dst, (const unsigned *)src, bytes / 4);
    else copy_units((unsigned short *)dst, (const unsigned short *)src, bytes / 2);
}

// Row i of dst is row ids[i] / per of src.
extern "C" __global__ void gather_rows(void *dst, const void *src, const int *ids, int per, long long bytes) {
    copy_row((char *)dst + blockIdx.x * bytes, (const char *)src + ids[blockIdx.x] / per * bytes, bytes);
}

// Row ids[i] of dst is row i of src.
extern "C" __global__ void scatter_rows(void *dst, const void *src, const int *ids, long long bytes) {
    copy_row((char *)dst + ids[blockIdx.x] * bytes, (const char *)src + blockIdx.x * bytes, bytes);
}

// The first bytes of each row.
extern "C" __global__ void copy_columns(void *dst, long long dst_stride, const void *src, long long src_stride,
                                        long long bytes) {
    copy_row((char *)dst + blockIdx.x * dst_stride, (const char *)src + blockIdx.x * src_stride, bytes);
}

// Adds row t of dy to row tokens[t] of grad, in the order of t: the block of a token's first place does so for all of its
// places. It looks through the tokens blockDim.x at a time; found has a bit for each.
template <class T> __device__ void embed_back(float *grad, const T *dy, const int *tokens, int n, int width) {
    __shared__ unsigned found[32];
    int first = blockIdx.x, id = tokens[first], warps = blockDim.x / 32;
    for (int from = 0; from < first; from += blockDim.x) {
        int t = from + threadIdx.x;
        if (__syncthreads_or(t < first && tokens[t] == id)) return;
    }
    grad += (long long)id * width;
    for (int from = first; from < n; from += blockDim.x) {
        int t = from + threadIdx.x;
        unsigned here = __ballot_sync(FULL, t < n && tokens[t] == id);
        if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = here;
        if (!__syncthreads_or(here != 0)) continue;
        for (int column = threadIdx.x; column < width; column += blockDim.x) {
            float sum = grad[column];
            for (int w = 0; w < warps; w++)
                for (unsigned bits = found[w]; bits; bits &= bits - 1)
                    sum += load(dy + (long long)(from + w * 32 + __ffs(bits) - 1) * width + column);
            grad[column] = sum;
        }
        __syncthreads();
    }
}
extern "C" __global__ void embed_back_f32(float *grad, const float *dy, const int *tokens, int n, int width) {
    embed_back(grad, dy, tokens, n, width);
}
extern "C" __global__ void embed_back_bf16(float *grad, const bf16 *dy, const int *tokens, int n, int width) {
    embed_back(grad, dy, tokens, n, width);
}

// Adds to each row its slots' sorted rows, by rank, times their weights if there are any.
template <class T>
__device__ void add_slots(T *y, const T *sorted, const float *weights, const int *place, int k, int width) {
    y += (long long)blockIdx.x * width;
    for (int i = threadIdx.x * 4; i < width; i += blockDim.x * 4) {
        float sum[4], v[4];
        load4(sum, y + i, width - i);
        for (int rank = 0; rank < k; rank++) {
            int slot = blockIdx.x * k + rank;
            float weight = weights ? weights[slot] : 1;
            load4(v, sorted + (long long)place[slot] * width + i, width - i);
            for (int j = 0; j < 4; j++) sum[j] += weight * v[j];
        }
        store4(y + i, sum, width - i);
    }
}
extern "C" __global__ void add_slots_f32(float *y, const float *sorted, const float *weights, const int *place, int k,
                                         int width) {
    add_slots(y, sorted, weights, place, k, width);
}
extern "C" __global__ void add_slots_bf16(bf16 *y, const bf16 *sorted, const float *weights, const int *place, int k,
                                          int width) {
    add_slots(y, sorted, weights, place, k, width);
}
