// Package cuda is the device of package tensor on an NVIDIA card of compute capability 8.0 or newer.
//
// Nothing is compiled ahead and no C compiler is used: libcuda (the driver), libnvrtc (the compiler of
// kernels) and libcublasLt (matrix products) are loaded at run time from a fixed list of folders, by absolute
// path; see [DriverFolders] and [Folders]. The kernels are CUDA C++ in the folder kernels, one file for each subject. A
// file is compiled for the card that is there when one of its kernels is first used, with prelude.cuh and the
// other files named .cuh before it, and the result is kept in the user's cache folder; [Device.Warm] does so for all at once.
//
// No card has run this yet. Its tests run the same Go code and the same kernels against libraries that stand in for a card's,
// on the processor (the folder fake), and every kernel is compiled with NVIDIA's compilers.
//
// # Contract
//
// A kernel is an entry point `extern "C" __global__ void name(…)` whose parameters are pointers, int, unsigned,
// long long, unsigned long long, float or double. Names are unique over all files. Launches are held against
// the parameters in the text, so a mistake is a message and not a fault of the card.
//
// All work goes to one stream, in the order of the calls, and calls return before their work is done unless they
// hand values to the host. A fault is kept, every later operation does nothing, and [Device.Err] returns it.
// Kernels form each sum in an order fixed by the shape and use no atomic addition, so results are equal to the
// bit on cards of one model and memory, with one set of library versions: libcublasLt chooses by the card.
//
// # Attention and experts
//
// Attention and the products of experts' rows are kernels of this package, on tensor cores by mma.sync, which every
// supported card has. Their tiles were chosen by registers, shared memory and counts of instructions, not by the clock.
// Two things a card should be asked: whether the grouped products of libcublasLt 13, which are experimental
// (CUBLASLT_BATCH_MODE_GROUPED, with the sizes in the card's memory), are faster than experts.cu; and how much
// the instructions gain that only one generation has (wgmma on 9.0, tcgen05 on 10.0), which alone reach its full rate.
package cuda
