// Norms of rows, and rows that are added to each row: a block of threads for each row.

// y = x w q with q = 1/sqrt(mean(x^2) + epsilon).
template <class T> __device__ void rms_norm(T *y, float *inverse, const T *x, const T *w, int n, double epsilon) {
    __shared__ float scale;
    x += (long long)blockIdx.x * n, y += (long long)blockIdx.x * n;
    float sum = 0;
    for (int i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
        float v[4];
        load4(v, x + i, n - i);
        for (int j = 0; j < 4; j++) sum += v[j] * v[j];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) inverse[blockIdx.x] = scale = (float)(1 / sqrt((double)sum / n + epsilon));
    __syncthreads();
    float q = scale;
    for (int i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
        float v[4], f[4];
        load4(v, x + i, n - i);
        load4(f, w + i, n - i);
        for (int j = 0; j < 4; j++) v[j] = q * v[j] * f[j];
        store4(y + i, v, n - i);
    }
}
extern "C" __global__ void rms_norm_f32(float *y, float *inverse, const float *x, const float *w, int n, double epsilon) {
    rms_norm(y, inverse, x, w, n, epsilon);
}
extern "C" __global__ void rms_norm_bf16(bf16 *y, float *inverse, const bf16 *x, const bf16 *w, int n, double epsilon) {
    rms_norm(y, inverse, x, w, n, epsilon);
}

// dx += q dy w - x q^3 mean(dy w x).
template <class T> __device__ void rms_norm_back(T *dx, const T *dy, const T *x, const T *w, const float *inverse, int n) {
    long long row = (long long)blockIdx.x * n;
    dx += row, dy += row, x += row;
    float sum = 0;
    for (int i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
        float d[4], v[4], f[4];
        load4(d, dy + i, n - i);
        load4(v, x + i, n - i);
        load4(f, w + i, n - i);
        for (int j = 0; j < 4; j++) sum += d[j] * f[j] * v[j];
    }
    float q = inverse[blockIdx.x], mean = block_sum(sum) / n * q * q * q;
    for (int i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
        float d[4], v[4], f[4], to[4];
        load4(d, dy + i, n - i);
        load4(v, x + i, n - i);
        load4(f, w + i, n - i);
        load4(to, dx + i, n - i);
        for (int j = 0; j < 4; j++) to[j] += q * d[j] * f[j] - mean * v[j];
        store4(dx + i, to, n - i);
    }
}
extern "C" __global__ void rms_norm_back_f32(float *dx, const float *dy, const float *x, const float *w, const float *inverse,
                                             int n) {
    rms_norm_back(dx, dy, x, w, inverse, n);
}
extern "C" __global__ void rms_norm_back_bf16(bf16 *dx, const bf16 *dy, const bf16 *x, const bf16 *w, const float *inverse,
                                              int n) {
    rms_norm_back(dx, dy, x, w, inverse, n);
}

// One thread for each column of each ROWS rows: parts[block][column] = the sum of dy, times x inverse if x is there.
#define ROWS 128
template <class T>
__device__ void sum_rows(float *parts, const T *dy, const T *x, const float *inverse, int n, int rows) {
    int column = blockIdx.y * blockDim.x + threadIdx.x, from = blockIdx.x * ROWS;
    if (column >= n) return;
    float sum = 0;
    for (int r = from; r < min(rows, from + ROWS); r++) {
        float v = load(dy + (long long)r * n + column);
        sum += x ? inverse[r] * v * load(x + (long long)r * n + column) : v;
    }
    parts[(long long)blockIdx.x * n + column] = sum;
}
extern "C" __global__ void sum_rows_f32(float *parts, const float *dy, const float *x, const float *inverse, int n, int rows) {
    sum_rows(parts, dy, x, inverse, n, rows);
}
extern "C" __global__ void sum_rows_bf16(float *parts, const bf16 *dy, const bf16 *x, const float *inverse, int n, int rows) {
    sum_rows(parts, dy, x, inverse, n, rows);
}

// row += the parts, in their order.
extern "C" __global__ void add_parts(float *row, const float *parts, int n, int blocks) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= n) return;
    float sum = row[column];
    for (int b = 0; b < blocks; b++) sum += parts[(long long)b * n + column];
    row[column] = sum;
}

template <class T> __device__ void add_row(T *y, const T *row, int n) {
    y += (long long)blockIdx.x * n;
    for (int i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
        float v[4], f[4];
        load4(v, y + i, n - i);
        load4(f, row + i, n - i);
        for (int j = 0; j < 4; j++) v[j] += f[j];
        store4(y + i, v, n - i);
    }
}
extern "C" __global__ void add_row_f32(float *y, const float *row, int n) { add_row(y, row, n); }
extern "C" __global__ void add_row_bf16(bf16 *y, const bf16 *row, int n) { add_row(y, row, n); }
