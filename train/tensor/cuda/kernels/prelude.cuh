// Put before every kernel's text. There are no CUDA headers: what the kernels need is here, by inline PTX for a
// card of compute capability 8.0 or later. BZ_SHIM is defined where the text is compiled for the processor, to be tested.

#define FULL 0xffffffffu // every lane of a warp
#define INFINITE __int_as_float(0x7f800000)

// bf16 is the upper half of a float.
struct bf16 { unsigned short bits; };

// load and store convert between a stored type and float; store rounds to nearest even, and makes any NaN 0x7fff.
__device__ __forceinline__ float load(const float *p) { return *p; }
__device__ __forceinline__ float load(const bf16 *p) { return __uint_as_float((unsigned)p->bits << 16); }

__device__ __forceinline__ bf16 round_bf16(float v) {
    bf16 r;
#ifdef BZ_SHIM
    unsigned u = __float_as_uint(v);
    r.bits = v != v ? 0x7fff : (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
#endif
    return r;
}

__device__ __forceinline__ void store(float *p, float v) { *p = v; }
__device__ __forceinline__ void store(bf16 *p, float v) { *p = round_bf16(v); }

// load4 reads up to four neighbours, those from count on as 0, and store4 writes count of them; at once where all four are
// there and p is at a multiple of their size.
__device__ __forceinline__ void load4(float *v, const float *p, int count) {
    if (count >= 4 && ((unsigned long long)p & 15) == 0) {
        float4 f = *(const float4 *)p;
        v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = i < count ? p[i] : 0;
}
__device__ __forceinline__ void load4(float *v, const bf16 *p, int count) {
    if (count >= 4 && ((unsigned long long)p & 7) == 0) {
        uint2 u = *(const uint2 *)p;
        v[0] = __uint_as_float(u.x << 16), v[1] = __uint_as_float(u.x & 0xffff0000u);
        v[2] = __uint_as_float(u.y << 16), v[3] = __uint_as_float(u.y & 0xffff0000u);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = i < count ? load(p + i) : 0;
}
__device__ __forceinline__ void store4(float *p, const float *v, int count) {
    if (count >= 4 && ((unsigned long long)p & 15) == 0) {
        *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < count) p[i] = v[i];
}
__device__ __forceinline__ void store4(bf16 *p, const float *v, int count) {
    if (count >= 4 && ((unsigned long long)p & 7) == 0) {
        *(uint2 *)p = make_uint2(round_bf16(v[0]).bits | (unsigned)round_bf16(v[1]).bits << 16,
                                 round_bf16(v[2]).bits | (unsigned)round_bf16(v[3]).bits << 16);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < count) p[i] = round_bf16(v[i]);
}

// pack_bf16 is a pair of values as the products take them: the first in the lower half.
__device__ __forceinline__ unsigned pack_bf16(float first, float second) {
#ifdef BZ_SHIM
    return round_bf16(first).bits | (unsigned)round_bf16(second).bits << 16;
#else
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
    return r;
#endif
}
__device__ __forceinline__ float unpack_low(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float unpack_high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// DYNAMIC_SHARED declares name as the launch's dynamic shared memory.
#ifdef BZ_SHIM
#define DYNAMIC_SHARED(type, name) type *name = (type *)bz_me->dynamic
#else
extern __shared__ __align__(128) unsigned char dynamic_shared[];
#define DYNAMIC_SHARED(type, name) type *name = (type *)dynamic_shared
#endif

// warp_sum and warp_max give every lane the sum and the greatest of the warp's values; all 32 lanes must call. A NaN stays
// one in warp_max.
template <class T> __device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
    for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(FULL, v, by);
    return v;
}
__device__ __forceinline__ float max_or_nan(float a, float b) { return a > b || a != a ? a : b; }
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int by = 16; by > 0; by /= 2) v = max_or_nan(v, __shfl_xor_sync(FULL, v, by));
    return v;
}

// block_sum gives every thread the sum over the block, of at most 1024 threads in full warps, in a fixed order. All
// threads must call.
template <class T> __device__ T block_sum(T v) {
    __shared__ T parts[32];
    int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    v = warp_sum(v);
    __syncthreads(); // parts may still be read from the call before
    if (threadIdx.x % 32 == 0) parts[warp] = v;
    __syncthreads();
    T sum = parts[0];
    for (int i = 1; i < warps; i++) sum += parts[i];
    return sum;
}
__device__ __forceinline__ float block_max(float v) {
    __shared__ float parts[32];
    int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    v = warp_max(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[warp] = v;
    __syncthreads();
    float top = parts[0];
    for (int i = 1; i < warps; i++) top = max_or_nan(top, parts[i]);
    return top;
}

// mma_bf16 adds the product of a 16 by 16 and a 16 by 8 tile of bf16 to a 16 by 8 tile of float. Lane l, with g = l/4 and
// t = 2(l%4), holds pairs of neighbours: of A in a[0] row g, columns t and t+1; a[1] row g+8; a[2] and a[3] the same, columns
// t+8 and t+9; of B in b0 rows t and t+1 of column g, b1 rows t+8 and t+9; of D in d[0] and d[1] row g, columns t and t+1, in
// d[2] and d[3] row g+8 (PTX ISA, "mma.m16n8k16").
__device__ __forceinline__ void mma_bf16(float *d, const unsigned *a, unsigned b0, unsigned b1) {
#ifdef BZ_SHIM
    bz_mma(d, a, b0, b1);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

#ifndef BZ_SHIM
__device__ __forceinline__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }
#endif

// ldmatrix loads 8 by 8 tiles of 16-bit values from shared memory: lane l has the address of row l%8 of tile l/8, a multiple
// of 16 bytes, and gets of tile i, in r[i], the values t and t+1 of row g, g and t as above; trans gets rows t and t+1 of
// column g. x2 takes the addresses of lanes 0 to 15; the others' must be in shared memory, too.
__device__ __forceinline__ void ldmatrix_x4(unsigned *r, const void *row) {
#ifdef BZ_SHIM
    bz_ldmatrix<4, false>(r, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned *r, const void *row) {
#ifdef BZ_SHIM
    bz_ldmatrix<4, true>(r, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x2(unsigned *r, const void *row) {
#ifdef BZ_SHIM
    bz_ldmatrix<2, false>(r, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned *r, const void *row) {
#ifdef BZ_SHIM
    bz_ldmatrix<2, true>(r, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
#endif
}

// copy_async16 begins to copy 16 bytes from global to shared memory, both at multiples of 16; if not in, it puts zeros there
// and does not read. copy_async_commit closes a group; copy_async_wait<N> waits for all of this thread's groups but the last
// N. Other threads see the bytes after a barrier.
__device__ __forceinline__ void copy_async16(void *to, const void *from, bool in = true) {
#ifdef BZ_SHIM
    bz_copy_async(to, from, 16, in ? 16 : 0);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(to)), "l"(from), "r"(in ? 16 : 0) : "memory");
#endif
}
// copy_async4 is the same for 4 bytes at multiples of 4.
__device__ __forceinline__ void copy_async4(void *to, const void *from, bool in = true) {
#ifdef BZ_SHIM
    bz_copy_async(to, from, 4, in ? 4 : 0);
#else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :: "r"(shared_address(to)), "l"(from), "r"(in ? 4 : 0) : "memory");
#endif
}
__device__ __forceinline__ void copy_async_commit() {
#ifdef BZ_SHIM
    bz_copy_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int N> __device__ __forceinline__ void copy_async_wait() {
#ifdef BZ_SHIM
    bz_copy_wait(N);
#else
    asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
#endif
}
