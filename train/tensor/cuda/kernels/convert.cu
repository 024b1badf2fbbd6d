// Conversion of whole arrays between f32 and bf16.

// Rounds to the nearest, ties to even; a NaN stays one.
static __device__ unsigned short fill_round(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (unsigned short)((bits >> 16) | 0x40u);
    }
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Each thread takes every gridDim*blockDim-th value.
extern "C" __global__ void to_bf16(unsigned short* dst, const float* src, long long n) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        dst[i] = fill_round(src[i]);
    }
}

extern "C" __global__ void from_bf16(float* dst, const unsigned short* src, long long n) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        dst[i] = __uint_as_float((unsigned)src[i] << 16);
    }
}
