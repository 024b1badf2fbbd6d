// The optimizer, and the formats of its state.
//
// A master in single precision is kept as two halves: the weight in bf16, rounded half up, and the difference of the master's
// bits from the weight's, which fits 16 bits with a sign. Together they are the master exactly, but for a NaN, which becomes
// the canonical one.
//
// Moments are kept as floats, or as 8-bit codes: the index of the nearest value in a table of 256 in [-1, 1], ascending, times
// a scale for each 256 values (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"). The scale is the
// value of greatest magnitude with its sign, so that it is coded as 1 and a decoded block is coded as it was. Where no magnitude
// reaches SMALLEST all are 0, so that no product of the two is subnormal. A second moment that is not 0 is coded as the smallest
// positive value at least: a weight whose gradients are a thousandth of its neighbours' would else be moved by its first moment
// over epsilon.
#define BLOCK 256
#define SMALLEST 7.8886090522101181e-31f // 2^-100

__device__ __forceinline__ float join(bf16 high, unsigned short low) {
    return __uint_as_float(((unsigned)high.bits << 16) + (unsigned)(int)(short)low);
}
__device__ __forceinline__ void split(float v, bf16 *high, unsigned short *low) {
    unsigned bits = v != v ? 0x7fc00000u : __float_as_uint(v);
    high->bits = (unsigned short)((bits + 0x8000u) >> 16);
    *low = (unsigned short)bits;
}

// A weight as single precision, or in halves; low is not used for the former.
__device__ __forceinline__ float read_master(const float *data, const unsigned short *, long long i) { return data[i]; }
__device__ __forceinline__ float read_master(const bf16 *data, const unsigned short *low, long long i) {
    return join(data[i], low[i]);
}
__device__ __forceinline__ void write_master(float *data, unsigned short *, long long i, float v) { data[i] = v; }
__device__ __forceinline__ void write_master(bf16 *data, unsigned short *low, long long i, float v) {
    split(v, data + i, low + i);
}

extern "C" __global__ void join_master(float *master, const bf16 *data, const unsigned short *low, long long n) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) master[i] = join(data[i], low[i]);
}
extern "C" __global__ void split_master(bf16 *data, unsigned short *low, const float *master, long long n) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) split(master[i], data + i, low + i);
}

struct rule { float grad_scale, beta1, beta1_rest, beta2, beta2_rest, root_scale, epsilon, decay, step; };

// One value's update, in the arithmetic of PyTorch's AdamW.
__device__ __forceinline__ float update(const rule &r, float w, float g, float *m, float *v) {
    float d = r.grad_scale * g;
    *m = r.beta1 * *m + r.beta1_rest * d;
    *v = r.beta2 * *v + r.beta2_rest * d * d;
    float root = sqrtf(*v) * r.root_scale + r.epsilon;
    return r.decay * w - r.step * *m / root;
}

template <class T>
__device__ void adamw(T *data, unsigned short *low, const float *grad, float *first, float *second, long long n, rule r) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        float m = first[i], v = second[i], w = update(r, read_master(data, low, i), grad[i], &m, &v);
        first[i] = m, second[i] = v;
        write_master(data, low, i, w);
    }
}

#define THE_RULE {grad_scale, beta1, beta1_rest, beta2, beta2_rest, root_scale, epsilon, decay, step}

// A warp's part of the coding of 256 values, 8 of each lane: 32*j + lane.

__device__ void decode(float *v, const unsigned char *codes, float scale, const float *table, int lane) {
    for (int j = 0; j < 8; j++) v[j] = table[codes[32 * j + lane]] * scale;
}

// nearest is the code of a value, by the middles between codes; that of NaN is 255.
__device__ __forceinline__ unsigned char nearest(float v, const float *table) {
    int low = 0, high = 255;
    while (low < high) {
        int at = (low + high) / 2;
        if (v < (table[at] + table[at + 1]) / 2) high = at;
        else low = at + 1;
    }
    return (unsigned char)low;
}

__device__ float encode(unsigned char *codes, const float *v, const float *table, int lane) {
    float top = 0;
    for (int j = 0; j < 8; j++) top = max_or_nan(top, fabsf(v[j]));
    top = warp_max(top);
    bool positive = false;
    for (int j = 0; j < 8; j++) positive = positive || v[j] == top;
    float scale = __any_sync(FULL, positive) ? top : -top;
    if (top < SMALLEST) scale = 0;
    bool second = table[0] == 0; // the table without negative values
    for (int j = 0; j < 8; j++) {
        unsigned char code = nearest(scale == 0 ? 0 : v[j] / scale, table);
        codes[32 * j + lane] = second && scale != 0 && v[j] > 0 && code == 0 ? 1 : code;
    }
    return scale;
}

// The tables in shared memory: the signed one of first moments, and that of second ones.
__device__ void take_tables(float *to, const float *tables) {
    for (int i = threadIdx.x; i < 512; i += blockDim.x) to[i] = tables[i];
    __syncthreads();
}

// first and second have whole blocks of BLOCK codes, then the scales; the values of the last block past n are 0.
template <class T>
__device__ void adamw_8bit(T *data, unsigned short *low, const float *grad, unsigned char *first, unsigned char *second,
                           const float *tables, long long n, rule r) {
    __shared__ float table[512];
    take_tables(table, tables);
    int lane = threadIdx.x % 32;
    long long blocks = (n + BLOCK - 1) / BLOCK, warps = (long long)gridDim.x * (blockDim.x / 32);
    float *first_scale = (float *)(first + blocks * BLOCK), *second_scale = (float *)(second + blocks * BLOCK);
    for (long long b = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; b < blocks; b += warps) {
        float m[8], v[8];
        decode(m, first + b * BLOCK, first_scale[b], table, lane);
        decode(v, second + b * BLOCK, second_scale[b], table + 256, lane);
        for (int j = 0; j < 8; j++) {
            long long i = b * BLOCK + 32 * j + lane;
            if (i < n) write_master(data, low, i, update(r, read_master(data, low, i), grad[i], &m[j], &v[j]));
        }
        float scale = encode(first + b * BLOCK, m, table, lane);
        __syncwarp();
        if (lane == 0) first_scale[b] = scale;
        scale = encode(second + b * BLOCK, v, table + 256, lane);
        if (lane == 0) second_scale[b] = scale;
    }
}

extern "C" __global__ void adamw_f32(float *data, const float *grad, float *first, float *second, long long n,
                                     float grad_scale, float beta1, float beta1_rest, float beta2, float beta2_rest,
                                     float root_scale, float epsilon, float decay, float step) {
    adamw(data, (unsigned short *)0, grad, first, second, n, THE_RULE);
}
extern "C" __global__ void adamw_split(bf16 *data, unsigned short *low, const float *grad, float *first, float *second,
                                       long long n, float grad_scale, float beta1, float beta1_rest, float beta2,
                                       float beta2_rest, float root_scale, float epsilon, float decay, float step) {
    adamw(data, low, grad, first, second, n, THE_RULE);
}
extern "C" __global__ void adamw_split_8bit(bf16 *data, unsigned short *low, const float *grad, unsigned char *first,
                                            unsigned char *second, const float *tables, long long n, float grad_scale,
                                            float beta1, float beta1_rest, float beta2, float beta2_rest, float root_scale,
                                            float epsilon, float decay, float step) {
    adamw_8bit(data, low, grad, first, second, tables, n, THE_RULE);
}

// Values of coded moments, and codes of values: a warp for each block.
extern "C" __global__ void decode_moments(float *values, const unsigned char *codes, const float *scales, const float *table,
                                          long long n) {
    long long b = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (b * BLOCK >= n) return;
    float v[8];
    int lane = threadIdx.x % 32;
    decode(v, codes + b * BLOCK, scales[b], table, lane);
    for (int j = 0; j < 8; j++)
        if (b * BLOCK + 32 * j + lane < n) values[b * BLOCK + 32 * j + lane] = v[j];
}
extern "C" __global__ void encode_moments(unsigned char *codes, float *scales, const float *values, const float *table,
                                          long long n) {
    long long b = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (b * BLOCK >= n) return;
    float v[8];
    int lane = threadIdx.x % 32;
    for (int j = 0; j < 8; j++) v[j] = b * BLOCK + 32 * j + lane < n ? values[b * BLOCK + 32 * j + lane] : 0;
    float scale = encode(codes + b * BLOCK, v, table, lane);
    if (lane == 0) scales[b] = scale;
}
