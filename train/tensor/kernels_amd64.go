package tensor

// available lists the kernel sets of this processor, fastest first.
func available() []Kernels { return []Kernels{Plain()} }
