//go:build darwin || freebsd

package remote

import "golang.org/x/sys/unix"

// isLocal reports whether a file system is this machine's.
func isLocal(s *unix.Statfs_t) bool { return s.Flags&unix.MNT_LOCAL != 0 }
