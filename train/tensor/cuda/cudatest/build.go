// Package cudatest builds the libraries that stand in for a card's, for tests: a driver, a compiler of kernels and a
// library of products whose card is the processor. Their text is in the folder train/tensor/cuda/fake.
package cudatest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
)

// libraries are the files by the name of their text.
var libraries = map[string]string{"cuda": "libcuda.so.1", "nvrtc": "libnvrtc.so.12", "cublaslt": "libcublasLt.so.12"}

// Build makes the libraries of the texts in a folder, in another. It needs g++.
func Build(source, dir string) error {
	source, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	errs := make(chan error, len(libraries))
	for name, library := range libraries {
		group.Go(func() {
			out, err := exec.Command("g++", "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
				fmt.Sprintf("-DFAKE_DIR=%q", source), "-o", filepath.Join(dir, library), filepath.Join(source, name+".cc"),
				"-ldl", "-lpthread").CombinedOutput()
			if err != nil {
				errs <- fmt.Errorf("the fake %s is built with g++ 12 or newer: %w\n%s", library, err, out)
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}
