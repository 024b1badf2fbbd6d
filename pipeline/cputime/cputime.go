// Package cputime tells what this process has computed for. Unlike the time on the clock, that is about the same on a busy
// machine as on an idle one.
package cputime

import (
	"syscall"
	"time"
)

// Used is the processor time that this process has taken so far, on all cores, for itself and in the system; 0 where the
// system does not tell.
func Used() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
