// Routers: probabilities of experts, the choice, the order of slots by expert, and derivatives. A warp takes one row.

// best is the greater value of two, equal ones by the lower index; a NaN is greater than nothing.
struct candidate { float value; int index; };
__device__ __forceinline__ candidate best(candidate a, candidate b) {
    if (b.index < 0) return a;
    if (a.index < 0) return b;
    bool first = a.value > b.value || (!(b.value > a.value) && a.index < b.index);
    return first ? a : b;
}
__device__ __forceinline__ candidate warp_best(candidate c) {
    for (int by = 16; by > 0; by /= 2) {
        candidate other;
        other.value = __shfl_xor_sync(FULL, c.value, by);
        other.index = __shfl_xor_sync(FULL, c.index, by);
        c = best(c, other);
    }
    return c;
}

// The best of a lane's experts that are open, and whose group is not closed; open has a byte for each.
__device__ candidate best_open(const float *probs, const unsigned char *open, int experts, int size, unsigned long long closed) {
    candidate c = {0, -1};
    for (int i = threadIdx.x % 32; i < experts; i += 32)
        if (open[i] && !(size && closed >> (i / size) & 1)) c = best(c, {probs[i], i});
    return warp_best(c);
}

// Replaces x by its softmax: exponentials less the greatest value that is not NaN.
__device__ void softmax(float *x, int n) {
    int lane = threadIdx.x % 32;
    float top = -INFINITE, sum = 0;
    for (int i = lane; i < n; i += 32) top = fmaxf(top, x[i]);
    top = warp_max(top);
    for (int i = lane; i < n; i += 32) sum += x[i] = expf(x[i] - top);
    float scale = 1 / warp_sum(sum);
    for (int i = lane; i < n; i += 32) x[i] *= scale;
    __syncwarp();
}

// Closes the experts outside of the top groups that hold the most probable open ones, unless fewer than k would be left.
__device__ void limit_groups(const float *probs, unsigned char *open, int experts, int groups, int top, int k) {
    int lane = threadIdx.x % 32, size = experts / groups, left = 0;
    unsigned long long in = 0;
    for (int n = 0; n < top; n++) {
        candidate c = best_open(probs, open, experts, size, in);
        if (c.index >= 0) in |= 1ull << (c.index / size);
    }
    for (int i = lane; i < experts; i += 32) left += open[i] && in >> (i / size) & 1;
    left = warp_sum(left);
    __syncwarp();
    for (int i = lane; i < experts && left >= k; i += 32) open[i] = open[i] && in >> (i / size) & 1;
    __syncwarp();
}

// Takes the k best open experts, and the weights of their outputs.
__device__ void choose(const float *probs, unsigned char *open, int experts, int k, int normalize, float scale, int *ids,
                       float *weights) {
    int lane = threadIdx.x % 32;
    float sum = 0;
    for (int rank = 0; rank < k; rank++) {
        candidate c = best_open(probs, open, experts, 0, 0);
        sum += probs[c.index];
        __syncwarp();
        if (lane == 0) open[c.index] = 0, ids[rank] = c.index;
        __syncwarp();
    }
    for (int rank = lane; rank < k; rank += 32) {
        float weight = probs[ids[rank]];
        if (normalize) weight /= sum;
        weights[rank] = weight * scale;
    }
}

// Shared memory has a row of floats and one of bytes for each warp; unmasked and allowed may be null, groups 0.
extern "C" __global__ void route(float *probs, float *unmasked, int *ids, float *weights, const int *allowed, int rows,
                                 int experts, int k, int groups, int top_groups, int normalize, float scale) {
    DYNAMIC_SHARED(float, all);
    int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32, row = blockIdx.x * warps + warp;
    float *p = all + warp * experts;
    unsigned char *open = (unsigned char *)(all + warps * experts) + warp * experts;
    if (row >= rows) return;
    probs += (long long)row * experts;
    for (int i = lane; i < experts; i += 32) p[i] = probs[i];
    __syncwarp();
    if (unmasked) {
        softmax(p, experts);
        for (int i = lane; i < experts; i += 32) unmasked[(long long)row * experts + i] = p[i], p[i] = probs[i];
    }
    for (int i = lane; i < experts; i += 32) {
        open[i] = !allowed || allowed[i];
        if (!open[i]) p[i] = -INFINITE;
    }
    __syncwarp();
    softmax(p, experts);
    for (int i = lane; i < experts; i += 32) probs[i] = p[i];
    if (groups) limit_groups(p, open, experts, groups, top_groups, k);
    choose(p, open, experts, k, normalize, scale, ids + (long long)row * k, weights + (long long)row * k);
}

// Counts the slots of each expert in each SLOTS slots: counts is [blocks, experts].
#define SLOTS 256
extern "C" __global__ void route_count(int *counts, const int *ids, int slots, int experts) {
    DYNAMIC_SHARED(int, here);
    for (int e = threadIdx.x; e < experts; e += blockDim.x) here[e] = 0;
    __syncthreads();
    int slot = blockIdx.x * SLOTS + threadIdx.x;
    if (slot < slots) atomicAdd(&here[ids[slot]], 1);
    __syncthreads();
    for (int e = threadIdx.x; e < experts; e += blockDim.x) counts[(long long)blockIdx.x * experts + e] = here[e];
}

// Makes of the counts the first place of each expert's slots of each block, and fills start. One block: a warp for an expert
// at a time, a lane for a block of slots.
extern "C" __global__ void __launch_bounds__(1024) route_start(int *start, int *counts, int blocks, int experts) {
    int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32;
    for (int e = warp; e < experts; e += warps) {
        int before = 0;
        for (int from = 0; from < blocks; from += 32) {
            bool in = from + lane < blocks;
            int *count = counts + (long long)(from + lane) * experts + e, n = in ? *count : 0, sum = n;
            for (int by = 1; by < 32; by *= 2) {
                int other = __shfl_up_sync(FULL, sum, by);
                if (lane >= by) sum += other;
            }
            if (in) *count = before + sum - n;
            before += __shfl_sync(FULL, sum, 31);
        }
        if (lane == 0) start[e + 1] = before;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        int sum = start[0] = 0;
        for (int e = 0; e < experts; e++) start[e + 1] = sum += start[e + 1];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < blocks * experts; i += blockDim.x) counts[i] += start[i % experts];
}

// A slot's place is its expert's first in its block, and as many more as slots of the expert are before it there.
extern "C" __global__ void route_place(int *place, int *slots_by_place, const int *counts, const int *ids, int slots,
                                       int experts) {
    __shared__ int here[SLOTS];
    int slot = blockIdx.x * SLOTS + threadIdx.x, id = slot < slots ? ids[slot] : -1;
    here[threadIdx.x] = id;
    __syncthreads();
    if (id < 0) return;
    int at = counts[(long long)blockIdx.x * experts + id];
    for (int i = 0; i < threadIdx.x; i++) at += here[i] == id;
    place[slot] = at;
    slots_by_place[at] = slot;
}

// Replaces probs by the derivative of the logits, p (dp - sum of dp p). With s the sum of the chosen probabilities, a weight is
// scale p/s if they are normalised, else scale p.
extern "C" __global__ void route_back(float *probs, const int *ids, const float *d_weights, int rows, int experts, int k,
                                      int normalize, float scale) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    probs += (long long)row * experts, ids += (long long)row * k, d_weights += (long long)row * k;
    float mean = 0, dot = 0, sum = 0;
    for (int rank = 0; normalize && rank < k; rank++) {
        sum += probs[ids[rank]];
        mean += d_weights[rank] * probs[ids[rank]];
    }
    if (normalize) scale /= sum, mean /= sum;
    for (int rank = 0; rank < k; rank++) dot += scale * (d_weights[rank] - mean) * probs[ids[rank]];
    __syncwarp();
    for (int i = lane; i < experts; i += 32) {
        float dp = 0;
        for (int rank = 0; rank < k; rank++)
            if (ids[rank] == i) dp = scale * (d_weights[rank] - mean);
        probs[i] *= dp - dot;
    }
}

// ids = the k most probable experts of each row.
extern "C" __global__ void balance_top(int *ids, const float *probs, int rows, int experts, int k) {
    DYNAMIC_SHARED(unsigned char, all);
    int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32, row = blockIdx.x * warps + warp;
    unsigned char *open = all + warp * experts;
    if (row >= rows) return;
    for (int i = lane; i < experts; i += 32) open[i] = 1;
    __syncwarp();
    for (int rank = 0; rank < k; rank++) {
        candidate c = best_open(probs + (long long)row * experts, open, experts, 0, 0);
        __syncwarp();
        if (lane == 0) open[c.index] = 0, ids[(long long)row * k + rank] = c.index;
        __syncwarp();
    }
}

// For each ROWS rows and each expert, over the rows that count: how often it is among ids, and the sum of its
// probabilities; parts is [blocks, 2, experts].
#define ROWS 64
extern "C" __global__ void balance_parts(double *parts, const int *ids, const float *probs, const int *counted, int rows,
                                         int experts, int k) {
    int e = blockIdx.y * blockDim.x + threadIdx.x, from = blockIdx.x * ROWS;
    if (e >= experts) return;
    double chosen = 0, probable = 0;
    for (int row = from; row < min(rows, from + ROWS); row++) {
        if (counted && !counted[row]) continue;
        for (int rank = 0; rank < k; rank++) chosen += ids[(long long)row * k + rank] == e;
        probable += (double)probs[(long long)row * experts + e];
    }
    parts[blockIdx.x * 2ll * experts + e] = chosen;
    parts[(blockIdx.x * 2ll + 1) * experts + e] = probable;
}

// d_logits += p (slope - sum of p slope) for the rows that count.
extern "C" __global__ void balance_back(float *d_logits, const float *probs, const float *slope, const int *counted, int rows,
                                        int experts) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows || (counted && !counted[row])) return;
    d_logits += (long long)row * experts, probs += (long long)row * experts;
    float mean = 0;
    for (int i = lane; i < experts; i += 32) mean += probs[i] * slope[i];
    mean = warp_sum(mean);
    for (int i = lane; i < experts; i += 32) d_logits[i] += probs[i] * (slope[i] - mean);
}
