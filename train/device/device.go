// Package device opens what models compute on: the processor, with one of its kernel sets, or an NVIDIA card.
//
// A device has a name by which a run's record knows it, since results depend on it: that of the kernel set, such as
// "avx512", or the card's number and architecture, such as "cuda:0/sm_90". [Resolve] makes it of what a user asks for,
// [Open] opens the device of a name.
package device

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

// CPU and CUDA are what a user may ask for; a card's number may follow, as in "cuda:1".
const (
	CPU  = "cpu"
	CUDA = "cuda"
)

// Device is an open device.
type Device interface {
	tensor.Device
	io.Closer
}

// Resolve returns the name of the device that a user asks for, after a look whether it is there.
func Resolve(asked, kernels string) (string, error) {
	if asked == CPU || asked == "" {
		set, err := tensor.Choose(kernels)
		return set.Name(), err
	}
	ordinal, err := ordinalOf(asked)
	if err != nil {
		return "", err
	}
	card, err := cuda.Find(ordinal)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s:%d/sm_%d%d", CUDA, ordinal, card.Major, card.Minor), nil
}

// ordinalOf is the card's number in "cuda" or "cuda:N".
func ordinalOf(asked string) (int, error) {
	kind, number, numbered := strings.Cut(asked, ":")
	n, err := 0, error(nil)
	if numbered {
		n, err = strconv.Atoi(number)
	}
	if kind != CUDA || err != nil || n < 0 {
		return 0, fmt.Errorf("device %q is not known; choose %s, %s or %s:N for the card of number N", asked, CPU, CUDA, CUDA)
	}
	return n, nil
}

// OnCard reports whether a name is a card's.
func OnCard(name string) bool { return strings.HasPrefix(name, CUDA+":") }

// Options are what opening takes besides the name.
type Options struct {
	// Workers is the number of goroutines of the processor.
	Workers int
	// Precision is a card's; "" stands for [tensor.Half]. The processor computes in [tensor.Single].
	Precision tensor.Precision
}

// Open opens the device of a name.
func Open(name string, o Options) (Device, error) {
	if !OnCard(name) {
		set, err := tensor.Choose(name)
		return processor{tensor.New(set, o.Workers)}, err
	}
	d, err := openNamed(name, o.Precision)
	if err != nil {
		return nil, err
	}
	// All kernels at once, in parallel, take a fraction of the time that they take one by one in the first step.
	if _, err := d.Warm(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openNamed opens the card of a name, whose kernels are not compiled yet.
func openNamed(name string, precision tensor.Precision) (*cuda.Device, error) {
	asked, architecture, _ := strings.Cut(name, "/")
	ordinal, err := ordinalOf(asked)
	if err != nil {
		return nil, err
	}
	d, err := cuda.New(cuda.Options{Ordinal: ordinal, Precision: precision})
	if err != nil {
		return nil, err
	}
	if !strings.Contains(d.Name(), "/"+architecture+"/") {
		d.Close()
		return nil, fmt.Errorf("%s is now %s: the cards of this machine have changed since the run began", name, d)
	}
	return d, nil
}

// processor is the CPU device, which has nothing to close.
type processor struct{ *tensor.CPU }

// Close implements [io.Closer].
func (processor) Close() error { return nil }

// FreeBytes returns the memory of a card that no program uses.
func FreeBytes(name string) (int64, error) {
	d, err := openNamed(name, "")
	if err != nil {
		return 0, err
	}
	m, err := d.Memory()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return m.CardFree, err
}
