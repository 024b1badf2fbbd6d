//go:build !linux && !darwin && !freebsd

package remote

import (
	"errors"
	"os"
)

// openLocked is not known on other systems.
func openLocked(string, int) (*os.File, error) { return nil, errors.ErrUnsupported }

// locksHold says that there are no locks.
func locksHold(string) bool { return false }
