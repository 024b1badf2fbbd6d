// What every kernel file begins with. NVRTC gets no include path: everything that kernels share is defined here.

typedef unsigned short bf16_t; // bfloat16: the upper half of single precision
