package cuda

import (
	"errors"
	"fmt"
	"strings"
)

// advice is what to do about results of the driver that have a known cause.
var advice = map[int32]string{
	34: "this libcuda.so.1 is the toolkit's stub, not the driver: install the NVIDIA driver, or take the stubs folder " +
		"out of BZDATA_CUDA_PATH",
	46: "another program holds the card alone, or it is being reset: wait for it, or see nvidia-smi",
	100: "no card is visible: see nvidia-smi; a container must be started with one (docker run --gpus all), and " +
		"CUDA_VISIBLE_DEVICES may hide all",
	200: "the compiled kernel is not one that this driver takes: update the driver, or use a libnvrtc that is not newer",
	209: "the compiled kernel does not fit the card: delete the cache of kernels, which bzdata doctor --devices names, " +
		"and try again",
	214: "the card's memory has an error that cannot be corrected: see nvidia-smi -q -d ECC; " +
		"go on from the last checkpoint on another card",
	222: "the compiled kernel is for a newer driver: update the driver or use an older libnvrtc",
	700: "this kernel or one before it went outside of its memory, which is a mistake in bzdata: please report this line, " +
		"best as it is with CUDA_LAUNCH_BLOCKING=1, which names the kernel",
	716: "this kernel or one before it read at an odd address, which is a mistake in bzdata: please report this line, " +
		"best as it is with CUDA_LAUNCH_BLOCKING=1, which names the kernel",
	719: "this kernel or one before it failed, or the card was lost: dmesg says which in lines with Xid; " +
		"go on from the last checkpoint",
	800: "this user may not use the card: see the permissions of /dev/nvidia*",
	802: "the machine's NVLink fabric is not ready: start nvidia-fabricmanager",
	803: "the driver's kernel module and libcuda.so.1 are of different versions: restart the machine after the driver's update",
	804: "libcuda.so.1 is a compatibility package that this card does not admit: use the driver's own library",
	999: "the driver gave no reason; the card may be lost, or the machine was suspended: see the lines with Xid in dmesg; " +
		"go on from the last checkpoint",
}

// explain adds to an error of the driver what to do about it.
func explain(err error) error {
	var result *resultError
	if !errors.As(err, &result) {
		return err
	}
	if text, ok := advice[result.code]; ok {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
}

// firstLines are the first lines of a text, joined.
func firstLines(text string, n int) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 })
	return strings.Join(lines[:min(n, len(lines))], " | ")
}
