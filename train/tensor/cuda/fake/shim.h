// The part of CUDA that the kernels use, on the processor: put before a kernel's text, which g++ then
// compiles as it is. One block runs at a time on a thread of the operating system, its threads as
// fibers that are switched where they wait for each other: at a barrier or in an operation of a warp.
//
// It is stricter than a card: shared memory holds NaN when a block begins, an asynchronous copy arrives no
// sooner than it is waited for, what lanes that took no part would give is NaN, and lanes that meet in
// different operations, threads that wait for ever, an odd address, rows of ldmatrix in the same banks or a write
// past the shared memory fail the launch with a message.
#pragma once
#define BZ_SHIM 1
#include "fibers.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define __align__(n) __attribute__((aligned(n)))

#define BZ_VECTORS(type, name, n) \
    struct name##2 { type x, y; } __attribute__((aligned(2 * n))); \
    struct name##4 { type x, y, z, w; } __attribute__((aligned(4 * n > 16 ? 16 : 4 * n))); \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
BZ_VECTORS(float, float, 4)
BZ_VECTORS(double, double, 8)
BZ_VECTORS(int, int, 4)
BZ_VECTORS(unsigned, uint, 4)
BZ_VECTORS(short, short, 2)
BZ_VECTORS(unsigned short, ushort, 2)
BZ_VECTORS(signed char, char, 1)
BZ_VECTORS(unsigned char, uchar, 1)

#define threadIdx (bz_now->thread)
#define blockIdx (bz_me->block)
#define blockDim (bz_me->launch->block)
#define gridDim (bz_me->launch->grid)
static const int warpSize = 32;

static inline void __syncthreads() { bz_barrier(0); }
static inline int __syncthreads_count(int vote) { return bz_barrier(vote), bz_me->votes[1]; }
static inline int __syncthreads_or(int vote) { return bz_barrier(vote), bz_me->votes[1] != 0; }
static inline int __syncthreads_and(int vote) { return bz_barrier(vote), bz_me->votes[1] == bz_me->votes[2]; }

static inline bool bz_is_shared(const void *p) {
    const char *at = (const char *)p, *tls = (const char *)bz_me->tls;
    return (at >= bz_me->dynamic && at < bz_me->dynamic + bz_me->launch->dynamic) || (at >= tls && at < tls + bz_me->tls_bytes);
}

static inline void __syncwarp(unsigned mask = ~0u) {
    bz_collect("__syncwarp", mask, &mask, [](void **) {});
}

template <class T> struct bz_shuffle { T value, result; unsigned from; };

// bz_from is a lane's source: lane itself where the shuffle would leave its group of width.
static inline unsigned bz_group(unsigned lane, unsigned from, unsigned width) {
    return from / width == lane / width ? from : lane;
}

template <class T> T bz_take(const char *op, unsigned mask, T value, unsigned from) {
    bz_shuffle<T> mine = {value, value, from};
    memset(&mine.result, 0xff, sizeof(T));
    bz_collect(op, mask, &mine, [](void **lanes) {
        for (int i = 0; i < 32; i++) {
            auto *to = (bz_shuffle<T> *)lanes[i];
            if (!to) continue;
            auto *source = (bz_shuffle<T> *)lanes[to->from];
            if (source) to->result = source->value;
        }
    });
    return mine.result;
}
template <class T> T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
    return bz_take("__shfl_sync", mask, value, bz_now->lane / width * width + (unsigned)from % width);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32) {
    return bz_take("__shfl_xor_sync", mask, value, bz_group(bz_now->lane, bz_now->lane ^ by, width));
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    return bz_take("__shfl_down_sync", mask, value, bz_group(bz_now->lane, bz_now->lane + by, width));
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
    unsigned lane = bz_now->lane;
    return bz_take("__shfl_up_sync", mask, value, lane < by ? lane : bz_group(lane, lane - by, width));
}
static inline unsigned __ballot_sync(unsigned mask, int vote) {
    unsigned mine = vote != 0;
    bz_collect("__ballot_sync", mask, &mine, [](void **lanes) {
        unsigned all = 0;
        for (int i = 0; i < 32; i++)
            if (lanes[i]) all |= *(unsigned *)lanes[i] << i;
        for (int i = 0; i < 32; i++)
            if (lanes[i]) *(unsigned *)lanes[i] = all;
    });
    return mine;
}
static inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
static inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }

// bz_matrix takes part in ldmatrix (PTX ISA, "ldmatrix"): lanes 8i to 8i+7 have the addresses of the rows of
// matrix i, of 8 by 8 16-bit values; lane l gets values 2(l%4) and the next of row l/4, or of column l/4.
struct bz_matrix { const void *row; unsigned *to; };

template <int N, bool TRANS> void bz_ldmatrix(unsigned *to, const void *row) {
    bz_matrix mine = {row, to};
    bz_collect(TRANS ? "ldmatrix.trans" : "ldmatrix", ~0u, &mine, [](void **lanes) {
        const unsigned short *rows[8 * N];
        for (int i = 0; i < 8 * N; i++) {
            if (!lanes[i]) bz_fail("ldmatrix without lane %d", i);
            rows[i] = (const unsigned short *)((bz_matrix *)lanes[i])->row;
            if ((uintptr_t)rows[i] % 16) bz_fail("ldmatrix: the address of lane %d is not a multiple of 16", i);
            if (!bz_is_shared(rows[i])) bz_fail("ldmatrix: the address of lane %d is not in shared memory", i);
        }
        for (int m = 0; m < N; m++) {
            unsigned banks = 0;
            for (int i = 8 * m; i < 8 * m + 8; i++) banks |= 1u << (uintptr_t)rows[i] / 16 % 8;
            if (banks != 0xff) bz_fail("ldmatrix: rows of matrix %d share banks, which takes a card more than one pass", m);
        }
        for (int i = 0; i < 32; i++) {
            bz_matrix *lane = (bz_matrix *)lanes[i];
            for (int m = 0; lane && m < N; m++) {
                int a = i / 4, b = i % 4 * 2;
                const unsigned short **r = rows + 8 * m;
                unsigned low = TRANS ? r[b][a] : r[a][b], high = TRANS ? r[b + 1][a] : r[a][b + 1];
                lane->to[m] = low | high << 16;
            }
        }
    });
}

// bz_product takes part in mma.sync.m16n8k16.row.col.f32.bf16.bf16.f32, with the fragments of the PTX ISA.
struct bz_product { float *d; const unsigned *a; unsigned b[2]; };

static inline float bz_half(unsigned pair, int high) {
    unsigned bits = high ? pair & 0xffff0000u : pair << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

__attribute__((noinline, optimize("O3"), no_sanitize("alignment", "bounds")))
static void bz_multiply(float c[16][8], const float a[16][16], const float b[16][8]) {
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
}

static void bz_mma_finish(void **lanes) {
    float a[16][16], b[16][8], c[16][8];
    for (int l = 0; l < 32; l++) {
        bz_product *p = (bz_product *)lanes[l];
        if (!p) bz_fail("mma.sync without lane %d", l);
        int group = l / 4, in = l % 4 * 2;
        for (int i = 0; i < 8; i++) a[group + 8 * (i / 2 % 2)][in + i % 2 + 8 * (i / 4)] = bz_half(p->a[i / 2], i % 2);
        for (int i = 0; i < 4; i++) b[in + i % 2 + 8 * (i / 2)][group] = bz_half(p->b[i / 2], i % 2);
        for (int i = 0; i < 4; i++) c[group + 8 * (i / 2)][in + i % 2] = p->d[i];
    }
    bz_multiply(c, a, b);
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) ((bz_product *)lanes[l])->d[i] = c[l / 4 + 8 * (i / 2)][l % 4 * 2 + i % 2];
}

static inline void bz_mma(float *d, const unsigned *a, unsigned b0, unsigned b1) {
    bz_product mine = {d, a, {b0, b1}};
    bz_collect("mma.sync", ~0u, &mine, bz_mma_finish);
}

// bz_copy_async begins cp.async: what it will overwrite is NaN until the copy is waited for.
static inline void bz_copy_async(void *to, const void *from, unsigned bytes, unsigned used) {
    bz_fiber *f = bz_now;
    if ((uintptr_t)to % bytes || (uintptr_t)from % bytes) bz_fail("cp.async: an address is not a multiple of %u", bytes);
    if (!bz_is_shared(to)) bz_fail("cp.async: the destination is not in shared memory");
    if (f->copies == BZ_COPIES) bz_fail("cp.async: more than %d copies are under way", BZ_COPIES);
    f->copy[f->copies++] = {to, from, used, bytes - used, f->group};
    memset(to, 0xff, bytes);
}
static inline void bz_copy_wait(int pending) {
    bz_fiber *f = bz_now;
    int left = 0;
    for (int i = 0; i < f->copies; i++) {
        bz_copy c = f->copy[i];
        if (c.group >= f->group - pending) {
            f->copy[left++] = c;
            continue;
        }
        memcpy(c.to, c.from, c.bytes);
        memset((char *)c.to + c.bytes, 0, c.fill);
    }
    f->copies = left;
}
static inline void bz_copy_commit() { bz_now->group++; }

#define BZ_ATOMIC(name, result) \
    template <class T> T name(T *at, T v) { \
        T old = __atomic_load_n(at, __ATOMIC_RELAXED); \
        while (!__atomic_compare_exchange_n(at, &old, (T)(result), true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {} \
        return old; \
    }
BZ_ATOMIC(atomicAdd, old + v)
BZ_ATOMIC(atomicSub, old - v)
BZ_ATOMIC(atomicMax, old > v ? old : v)
BZ_ATOMIC(atomicMin, old < v ? old : v)
BZ_ATOMIC(atomicOr, old | v)
BZ_ATOMIC(atomicAnd, old & v)
BZ_ATOMIC(atomicExch, v)
template <class T> T atomicCAS(T *at, T is, T becomes) {
    __atomic_compare_exchange_n(at, &is, becomes, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    return is;
}
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() {}

template <class To, class From> To bz_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline float __uint_as_float(unsigned v) { return bz_bits<float>(v); }
static inline unsigned __float_as_uint(float v) { return bz_bits<unsigned>(v); }
static inline float __int_as_float(int v) { return bz_bits<float>(v); }
static inline int __float_as_int(float v) { return bz_bits<int>(v); }
static inline double __longlong_as_double(long long v) { return bz_bits<double>(v); }
static inline long long __double_as_longlong(double v) { return bz_bits<long long>(v); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static inline int __float2int_rn(float v) { return (int)rintf(v); }
static inline float rsqrtf(float v) { return 1 / sqrtf(v); }
static inline double rsqrt(double v) { return 1 / sqrt(v); }
#define __expf expf // glibc declares functions of these names
#define __logf logf
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float v) { return sqrtf(v); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __frcp_rn(float v) { return 1 / v; }
template <class T> T __ldg(const T *at) { return *at; }
template <class T> T __ldcs(const T *at) { return *at; }
template <class T> void __stcs(T *at, T v) { *at = v; }
#define BZ_EXTREMES(T) \
    static inline T min(T a, T b) { return b < a ? b : a; } \
    static inline T max(T a, T b) { return a < b ? b : a; }
BZ_EXTREMES(int)
BZ_EXTREMES(unsigned)
BZ_EXTREMES(long long)
BZ_EXTREMES(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
