package pipeline

import (
	"errors"
	"fmt"

	"bzdata/pipeline/store"
)

// UsageError says that the plan or the command line is wrong: trying again will not
// help. Commands end with exit code 2.
type UsageError struct {
	Msg string
	Err error // what it rests on, or nil
}

// Error is one line: what, where, and what to do.
func (e *UsageError) Error() string { return e.Msg }

// Unwrap returns what the error rests on.
func (e *UsageError) Unwrap() error { return e.Err }

// DataError says that the data failed a check. Commands end with exit code 3.
type DataError struct{ Msg string }

// Error is one line: what, where, and what to do.
func (e *DataError) Error() string { return e.Msg }

// AsDataError returns a [*DataError] in place of an error that comes from what a file holds, and
// any other error as it is: such a file is read in vain until it is mended. Files of the work
// directory are made again by the next run.
func AsDataError(workdir string, err error) error {
	var content *store.ContentError
	var usage *UsageError
	if !errors.As(err, &content) || errors.As(err, &usage) || isBelow(content.Name, workdir) {
		return err
	}
	return &DataError{err.Error()}
}

// GateError says that the gate refused the update. Commands end with exit code 4.
type GateError struct{ Msg string }

// Error is the gate's reason.
func (e *GateError) Error() string { return e.Msg }

// LateError says that the time left until the deadline does not do. Commands end with exit code 6.
type LateError struct{ Msg string }

// Error is one line: how much time there is, and how much it takes.
func (e *LateError) Error() string { return e.Msg }

// LockedError says that another run uses the work directory. Commands end with exit
// code 5.
type LockedError struct {
	Workdir string
	Holder  Holder
	Age     string
}

// Error names the holder and what to do.
func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is in use by process %d on %s, last seen %s ago; wait for it (--wait 10m) or end it",
		e.Workdir, e.Holder.PID, e.Holder.Host, e.Age)
}
