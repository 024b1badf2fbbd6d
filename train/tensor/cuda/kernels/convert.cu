// Conversion of whole arrays between f32 and bf16. Each thread takes every so many values.

#define EVERY(i, n) \
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x)

extern "C" __global__ void to_bf16(bf16* dst, const float* src, long long n) {
    EVERY(i, n) store(dst + i, load(src + i));
}

extern "C" __global__ void from_bf16(float* dst, const bf16* src, long long n) {
    EVERY(i, n) store(dst + i, load(src + i));
}
