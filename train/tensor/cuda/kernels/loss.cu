// Losses, and sums of squares.

// loss = -log softmax(logits)[target] of the row of each block; if grad is not 0 logits become the derivative times grad.
// Exponentials are added up in single precision within a thread and in double precision between them.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy(float *logits, const int *targets, int vocab, float grad,
                                                                    double *loss) {
    logits += (long long)blockIdx.x * vocab;
    int target = targets[blockIdx.x];
    float chosen = logits[target], top = -INFINITE, part = 0;
    for (int i = threadIdx.x; i < vocab; i += blockDim.x) top = fmaxf(top, logits[i]); // passes NaN over: the sum has it
    top = block_max(top);
    for (int i = threadIdx.x; i < vocab; i += blockDim.x) part += expf(logits[i] - top);
    double sum = block_sum((double)part);
    if (threadIdx.x == 0) loss[blockIdx.x] = log(sum) + (double)top - (double)chosen;
    if (grad == 0) return;
    float scale = (float)((double)grad / sum);
    for (int i = threadIdx.x; i < vocab; i += blockDim.x)
        logits[i] = expf(logits[i] - top) * scale - (i == target ? grad : 0);
}

// The sum of the squares of CHUNK values for each block.
#define CHUNK 32768
extern "C" __global__ void square_parts(double *parts, const float *x, long long n) {
    long long from = (long long)blockIdx.x * CHUNK, to = min(n, from + CHUNK);
    double sum = 0;
    for (long long i = from + threadIdx.x * 4; i < to; i += blockDim.x * 4) {
        float v[4];
        load4(v, x + i, (int)min(to - i, 4ll));
        for (int j = 0; j < 4; j++) sum += (double)v[j] * v[j];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// sum[0] = the sum of n parts.
extern "C" __global__ void sum_parts(double *sum, const double *parts, int n) {
    double s = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) s += parts[i];
    s = block_sum(s);
    if (threadIdx.x == 0) *sum = s;
}
