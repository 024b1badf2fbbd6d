//go:build !linux && !darwin && !freebsd

package store

import "errors"

// FreeBytes is not known on other systems.
func (osFS) FreeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
