package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// DiskError says that a work directory cannot be written, or no longer: a retry helps once
// that is mended. Its message is one line, however many writes have failed.
type DiskError struct {
	Workdir string
	// Stage is the stage that was at work, or empty.
	Stage string
	Err   error // what the file system said

	what, remedy string
}

// Error names the work directory and what to do.
func (e *DiskError) Error() string {
	stage := ""
	if e.Stage != "" {
		stage = "stage " + e.Stage + ": "
	}
	return fmt.Sprintf("%swork directory %s: %s; %s, or choose another with --workdir, and run the same command again",
		stage, e.Workdir, e.what, e.remedy)
}

// Unwrap returns what the file system said.
func (e *DiskError) Unwrap() error { return e.Err }

// AsDiskError returns a [*DiskError] in place of an error that comes from a lack of room
// or of permission in the work directory, and any other error as it is.
func AsDiskError(workdir string, err error) error {
	if d := diskError(workdir, err); d != nil {
		return d
	}
	return err
}

// diskError returns nil for an error that is of another kind, or of a file elsewhere.
func diskError(workdir string, err error) *DiskError {
	var known *DiskError
	var input *inputError
	switch {
	case err == nil || errors.As(err, &input):
		return nil
	case errors.As(err, &known):
		return known
	}
	name, named := pathOf(err)
	if named && !isWithin(workdir, name) {
		return nil
	}
	for _, c := range []struct {
		is     error
		remedy string
	}{
		{syscall.ENOSPC, "free space on its disk"},
		{syscall.EDQUOT, "free space, or ask for a larger quota"},
		{syscall.EROFS, "let its disk be written"},
		{syscall.EFBIG, "allow larger files (ulimit -f)"},
		{fs.ErrPermission, "let this user read and write there"},
	} {
		if errors.Is(err, c.is) && (named || c.is != fs.ErrPermission) {
			what := c.is.Error()
			return &DiskError{Workdir: workdir, Err: err, what: what, remedy: c.remedy}
		}
	}
	return nil
}

// pathOf returns the name that an error of the file system is about.
func pathOf(err error) (name string, ok bool) {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Path, true
	case errors.As(err, &link):
		return link.New, true
	}
	return "", false
}

// isWithin reports whether a name is that of a folder or of something below it.
func isWithin(dir, name string) bool {
	absDir, errDir := filepath.Abs(dir)
	abs, err := filepath.Abs(name)
	if errDir != nil || err != nil {
		return false
	}
	rel, err := filepath.Rel(absDir, abs)
	return err == nil && filepath.IsLocal(rel)
}
