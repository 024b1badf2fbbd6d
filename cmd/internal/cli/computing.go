package cli

import (
	"fmt"

	"github.com/spf13/pflag"

	"bzdata/train/device"
)

// computing are the flags that say what models compute on.
type computing struct{ device, kernels string }

func (c *computing) addDevice(fs *pflag.FlagSet) {
	fs.StringVar(&c.device, "device", device.CPU, "`DEVICE` that models compute on: cpu, cuda, or cuda:N for card N")
	fs.StringVar(&c.kernels, "kernels", "auto", "the processor's floating-point `SET`: auto, avx512, avx2 or plain")
}

// resolve returns the device's name in the run's record.
func (c *computing) resolve() (string, error) {
	name, err := device.Resolve(c.device, c.kernels)
	switch {
	case err == nil:
		return name, nil
	case c.device == device.CPU:
		return "", &flagError{fmt.Errorf("--kernels: %w", err)}
	}
	return "", &flagError{fmt.Errorf("--device %s: %w", c.device, err)}
}
