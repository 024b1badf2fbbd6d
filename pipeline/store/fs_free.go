package store

// FreeSpacer is a file system that knows how much room it has.
type FreeSpacer interface {
	// FreeBytes is how much an unprivileged user can still write to the disk of a folder.
	FreeBytes(dir string) (int64, error)
}

var _ FreeSpacer = osFS{}
