package remote

import (
	"slices"

	"golang.org/x/sys/unix"
)

// zfsMagic is ZFS's, which is not part of Linux.
const zfsMagic = 0x2fc12fc1

// isLocal reports whether a file system is one of those that are known to be one machine's.
func isLocal(s *unix.Statfs_t) bool {
	return slices.Contains([]uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		unix.BCACHEFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.TMPFS_MAGIC, zfsMagic}, uint32(s.Type))
}
