// Package cudatest builds the libraries that stand in for a card's, for tests: a driver, a compiler of kernels and a
// library of products whose card is the processor. Their text is in the folder train/tensor/cuda/fake.
package cudatest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// libraries are the files by the name of their text.
var libraries = map[string]string{"cuda": "libcuda.so.1", "nvrtc": "libnvrtc.so.12", "cublaslt": "libcublasLt.so.12"}

// flags are those of the compiler.
var flags = []string{"-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"}

// Build makes the libraries of the texts in a folder, unless they are there of an earlier run, and returns their folder. It is in
// the user's cache folder, so that all packages' tests share it, and may be deleted at any time. Build needs g++.
func Build(source string) (dir string, err error) {
	source, err = filepath.Abs(source)
	if err != nil {
		return "", err
	}
	name, err := nameOf(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "bzdata-cuda-test", name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, buildAs(source, dir)
}

// Kernels is a folder for what the libraries of a folder of Build compile: it goes when they do.
func Kernels(dir string) string { return filepath.Join(dir, "kernels") }

// nameOf is a hash of all that decides the libraries.
func nameOf(source string) (string, error) {
	h := sha256.New()
	version, err := exec.Command("g++", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("the libraries that stand in for a card's are built with g++ 12 or newer: %w", err)
	}
	fmt.Fprintf(h, "%s\n%q\n%s\n", source, flags, version)
	return hashed(h, os.DirFS(source))
}

func hashed(h hash.Hash, files fs.FS) (string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		text, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", e.Name(), len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil)[:10]), nil
}

// buildAs builds in a temporary folder and renames it. Another process may be faster.
func buildAs(source, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	var group sync.WaitGroup
	errs := make(chan error, len(libraries))
	for name, library := range libraries {
		group.Go(func() { errs <- compile(source, name, filepath.Join(temporary, library)) })
	}
	group.Wait()
	for range libraries {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return err
		}
	}
	return nil
}

func compile(source, name, library string) error {
	args := append([]string{fmt.Sprintf("-DFAKE_DIR=%q", source), "-o", library, filepath.Join(source, name+".cc")}, flags...)
	if out, err := exec.Command("g++", append(args, "-ldl", "-lpthread")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(library), err, out)
	}
	return nil
}
