package cuda

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// PathVariable is the environment variable that names folders, separated by colons, in which libraries are
// looked for first.
const PathVariable = "BZDATA_CUDA_PATH"

// Folders returns the folders in which libraries are looked for, in their order, as patterns of [filepath.Glob]: those of
// BZDATA_CUDA_PATH with their lib64 and lib, those of the CUDA toolkit, of the distribution, and of pip's packages.
// Nothing is ever looked for in the working folder or by a bare name.
func Folders() []string {
	out := append(ownFolders(), toolkitFolders()...)
	out = append(out, systemFolders()...)
	return append(out, pipFolders()...)
}

// DriverFolders returns those in which the driver's library is looked for: it comes with the system.
func DriverFolders() []string { return append(ownFolders(), systemFolders()...) }

// ownFolders are those that the user names.
func ownFolders() []string {
	var out []string
	for _, dir := range filepath.SplitList(os.Getenv(PathVariable)) {
		if dir != "" {
			out = append(out, dir, filepath.Join(dir, "lib64"), filepath.Join(dir, "lib"))
		}
	}
	return out
}

// machineNames are what the processor is called in names of folders.
func machineNames() (triplet, target string) {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu", "sbsa-linux"
	}
	return "x86_64-linux-gnu", "x86_64-linux"
}

func toolkitFolders() []string {
	_, target := machineNames()
	out := []string{"/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/" + target + "/lib", "/opt/cuda/lib64"}
	if conda := os.Getenv("CONDA_PREFIX"); conda != "" {
		out = append(out, filepath.Join(conda, "lib"))
	}
	return out
}

func systemFolders() []string {
	triplet, _ := machineNames()
	return []string{"/usr/lib/" + triplet, "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib"}
}

// pipFolders are where pip puts NVIDIA's libraries, below the folders of Python packages.
func pipFolders() []string {
	var packages []string
	for _, active := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if env := os.Getenv(active); env != "" {
			packages = append(packages, filepath.Join(env, "lib/python3*/site-packages"))
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		packages = append(packages, filepath.Join(home, ".local/lib/python3*/site-packages"))
	}
	packages = append(packages, "/usr/local/lib/python3*/site-packages", "/usr/local/lib/python3*/dist-packages",
		"/usr/lib/python3/dist-packages")
	for i, dir := range packages {
		packages[i] = filepath.Join(dir, "nvidia/*/lib")
	}
	return packages
}

// search is for one library.
type search struct {
	folders []string
	names   []string // of the file, the preferred first
	newer   []string // names of versions for which the driver is too old
	advice  string
	// open tries a file that is there; an error makes the search go on.
	open func(path string) error
}

// run opens the first file that can be, or returns an error that names every place.
func (s search) run() error {
	var failed []error
	for _, pattern := range s.folders {
		if !filepath.IsAbs(pattern) {
			return fmt.Errorf("folder %q of %s is not absolute: libraries are loaded from absolute paths only",
				pattern, PathVariable)
		}
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("folder %q: %w", pattern, err)
		}
		for _, dir := range dirs {
			opened, errs := s.in(dir)
			if opened {
				return nil
			}
			failed = append(failed, errs...)
		}
	}
	return &notFoundError{search: s, failed: failed}
}

// in tries the files of a folder.
func (s search) in(dir string) (opened bool, failed []error) {
	for _, name := range s.names {
		path := filepath.Join(dir, name)
		if !exists(path) {
			continue
		}
		err := s.open(path)
		if err == nil {
			return true, failed
		}
		failed = append(failed, err)
	}
	for _, name := range s.newer {
		if path := filepath.Join(dir, name); exists(path) {
			failed = append(failed, fmt.Errorf("%s is for a newer driver than the one that is installed", path))
		}
	}
	return false, failed
}

// exists reports whether something is there, even if it cannot be read.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// notFoundError says where a library was looked for.
type notFoundError struct {
	search
	failed []error
}

// reason is the message without folders and advice.
func (e *notFoundError) reason() string {
	names := strings.Join(e.names, " or ")
	if len(e.failed) == 0 {
		return names + " was not found"
	}
	why := strings.ReplaceAll(errors.Join(e.failed...).Error(), "\n", "; ")
	return fmt.Sprintf("%s cannot be used (%s)", names, why)
}

func (e *notFoundError) Error() string {
	return fmt.Sprintf("%s; looked in %s. %s", e.reason(), strings.Join(e.folders, ", "), e.advice)
}

// Unwrap gives the reasons why files that are there cannot be used.
func (e *notFoundError) Unwrap() []error { return e.failed }
