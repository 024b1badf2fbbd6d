package dedup

import "golang.org/x/sys/cpu"

//go:generate go run -C kernelgen . -dir ..

func vectorKernels() []Kernel {
	var out []Kernel
	if cpu.X86.HasAVX512F {
		out = append(out, AVX512)
	}
	if cpu.X86.HasAVX2 {
		out = append(out, AVX2)
	}
	return out
}

func minimaVector(k Kernel, out []uint32, shingles []uint64, mul, add []uint32) {
	groups := len(out) / groupLanes
	if k == AVX512 {
		minimaAVX512(&shingles[0], len(shingles), &mul[0], &add[0], &out[0], groups)
	} else {
		minimaAVX2(&shingles[0], len(shingles), &mul[0], &add[0], &out[0], groups)
	}
}
