//go:build linux || darwin || freebsd

package store

import "syscall"

// FreeBytes asks the operating system.
func (osFS) FreeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
