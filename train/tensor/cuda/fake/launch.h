// What passes between the fake driver and the libraries that the fake compiler makes of kernels.
#pragma once

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };

// bz_launch is one launch of a kernel.
struct bz_launch {
    dim3 grid, block;
    unsigned dynamic; // bytes of shared memory
    unsigned order;   // 0: blocks and threads in order; 1: the last ones first
    void (*call)(void **args);
    void **args;
    unsigned long long next; // block
    char message[512];
    int failed;
};

// bz_entry is what a kernel's library says of each of its entry points.
struct bz_entry {
    const char *name, *letters;
    void (*call)(void **args);
};

// bz_image is in front of a library's bytes: what the fake compiler calls a cubin.
struct bz_image {
    char magic[8];
    unsigned long long bytes;
};
#define BZ_MAGIC "BZFAKE1"
