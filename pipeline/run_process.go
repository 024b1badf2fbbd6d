package pipeline

import (
	"errors"
	"os"
	"syscall"
)

// processAlive reports whether a process of this host is there. Signal 0 asks without
// doing anything.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, syscall.EPERM)
}
