//go:build linux || darwin || freebsd

package remote

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openLocked opens a file for reading and writing that no other process, and nobody else in
// this one, has locked. The lock goes with the file's last descriptor.
func openLocked(name string, flag int) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|flag, 0o600)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil && !sameName(file, name) {
		err = errMoved
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// locksHold reports whether locks in a folder keep all processes apart. On file systems that
// several machines share, they may hold on one machine only, or not at all.
func locksHold(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && isLocal(&s)
}
