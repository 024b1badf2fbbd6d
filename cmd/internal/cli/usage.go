package cli

import (
	"runtime"
	"syscall"

	"bzdata/pipeline/cputime"
	"bzdata/pipeline/report"
)

// usage is what this process has taken so far, or zero where the system does not tell.
func usage() report.Usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return report.Usage{}
	}
	peak := int64(r.Maxrss)
	if runtime.GOOS != "darwin" { // there it is in bytes, elsewhere in KiB
		peak *= 1024
	}
	return report.Usage{CPUSeconds: cputime.Used().Seconds(), MemoryPeakBytes: peak}
}
