package cuda

import (
	"errors"
	"fmt"
	"unsafe"
)

// libraries are what a device calls.
type libraries struct {
	driver   *driver
	compiler *compiler
	blas     *blas
}

// version is one of CUDA, as its libraries count: 1000*major + 10*minor.
type version int

func (v version) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

func (v version) major() int { return int(v / 1000) }

// Versions of CUDA that the libraries may have. A driver runs what libraries of its major version or an older one make.
const (
	majorMin = 12
	majorMax = 13
)

const (
	driverAdvice = "Install the NVIDIA driver (525 or newer); in a container, start it with the card (docker run --gpus all)"
	pipAdvice    = "Install it with pip (pip install nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12) or with the CUDA toolkit, " +
		"or name its folder in " + PathVariable
)

// openLibraries finds and loads all three. The driver comes first, since its version decides which of the others fit.
func openLibraries(folders []string) (*libraries, error) {
	if unsupported != "" {
		return nil, errors.New(unsupported)
	}
	v, err := findDriver(folders)
	if err != nil {
		return nil, err
	}
	made, err := v.version()
	if err != nil {
		return nil, err
	}
	compiler, err := findCompiler(folders, made)
	if err != nil {
		return nil, err
	}
	blas, err := findBLAS(folders, made)
	if err != nil {
		return nil, err
	}
	return &libraries{driver: v, compiler: compiler, blas: blas}, nil
}

// findDriver loads libcuda and starts it.
func findDriver(folders []string) (*driver, error) {
	if folders == nil {
		folders = DriverFolders()
	}
	var v *driver
	s := search{folders: folders, names: []string{"libcuda.so.1"}, advice: driverAdvice}
	s.open = func(path string) (err error) {
		v, err = openDriver(path)
		return err
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	made, err := v.version()
	if err != nil {
		return nil, err
	}
	if made.major() < majorMin {
		return nil, fmt.Errorf("the driver at %s is for CUDA %s; %d.0 is the oldest that will do: "+
			"update the NVIDIA driver to 525 or newer", v.path, made, majorMin)
	}
	if err := v.check(v.init, v.init.call(0)); err != nil {
		return nil, fmt.Errorf("the driver at %s does not start: %w", v.path, explain(err))
	}
	return v, nil
}

// version is the newest CUDA that the driver knows.
func (d *driver) version() (version, error) {
	var v int32
	err := d.check(d.driverVersion, d.driverVersion.call(uintptr(unsafe.Pointer(&v))))
	return version(v), err
}

// searchFor is the search for a library of one of the versions that a driver can work with, the newest first.
func searchFor(folders []string, stem string, driver version, open func(path string) error) search {
	if folders == nil {
		folders = Folders()
	}
	s := search{folders: folders, advice: pipAdvice, open: open}
	for major := majorMax; major >= majorMin; major-- {
		name := fmt.Sprintf("%s.so.%d", stem, major)
		if major > driver.major() {
			s.newer = append(s.newer, name)
			continue
		}
		s.names = append(s.names, name)
	}
	return s
}
