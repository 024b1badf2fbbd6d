package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bzdata/pipeline/store"
)

// lockName is a symbolic link whose target names the holder: making a link is atomic,
// also on network file systems.
const lockName = ".lock"

// The lock's holder renews it every heartbeat; after lockStale without renewal it is
// taken to be dead, also on another host.
const (
	heartbeat = 10 * time.Second
	lockStale = 2 * time.Minute
)

// Holder is who holds a work directory.
type Holder struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
}

// Lock is a work directory held by this process.
type Lock struct {
	fsys    store.FS
	workdir string
	holder  Holder
	stop    context.CancelFunc
	stopped chan struct{}
	lost    chan struct{} // closed when another holds the lock
}

// Acquire takes the work directory for this process, waiting up to wait if another
// holds it. A [*LockedError] names the holder. A holder that died on this host, or was
// not seen for two minutes, loses the lock. ctx ends the waiting.
func Acquire(ctx context.Context, fsys store.FS, workdir string, wait time.Duration) (*Lock, error) {
	if err := makeDurable(fsys, workdir); err != nil {
		return nil, unwritable(workdir, err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	// No monotonic clock: a holder is compared with what was written.
	l := &Lock{fsys: fsys, workdir: workdir, holder: Holder{Host: host, PID: os.Getpid(), Since: time.Now().Round(0)}}
	deadline := time.Now().Add(wait)
	for {
		held, err := l.try()
		if err != nil {
			return nil, err
		}
		if held == nil {
			l.keepAlive(heartbeat)
			return l, nil
		}
		if time.Now().After(deadline) {
			return nil, &LockedError{workdir, *held, time.Since(held.Seen).Round(time.Second).String()}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(time.Second, time.Until(deadline)+time.Millisecond)):
		}
	}
}

// unwritable says that a work directory cannot be made or written.
func unwritable(workdir string, err error) error {
	if d := diskError(workdir, err); d != nil {
		return d
	}
	return fmt.Errorf("work directory %s cannot be written: %w; choose another with --workdir", workdir, err)
}

func (l *Lock) path() string { return filepath.Join(l.workdir, lockName) }

// triesMax bounds how often a lock that changes hands is looked at again.
const triesMax = 100

// try takes the lock, or returns who holds it.
func (l *Lock) try() (*Holder, error) {
	var made error
	for range triesMax {
		target, err := l.target()
		if err != nil {
			return nil, err
		}
		if made = l.fsys.Symlink(target, l.path()); made == nil {
			return nil, nil
		}
		now, held, err := l.read(l.path())
		switch {
		case errors.Is(err, fs.ErrNotExist) && errors.Is(made, fs.ErrExist):
			continue // it was given up in between
		case errors.Is(err, fs.ErrNotExist):
			return nil, unwritable(l.workdir, made)
		case err != nil:
			return nil, err
		case !l.dead(*held):
			return held, nil
		}
		if taker, err := l.clear(now, target); taker != nil || err != nil {
			return taker, err
		}
	}
	return nil, fmt.Errorf("lock %s changes all the time: %w; try again", l.path(), made)
}

// read returns a lock as it stands, and who holds it.
func (l *Lock) read(name string) (target string, held *Holder, err error) {
	target, err = l.fsys.Readlink(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	held = &Holder{}
	if err != nil || json.Unmarshal([]byte(target), held) != nil {
		return "", nil, &UsageError{Msg: fmt.Sprintf("%s is not a lock of this program; remove it if no run uses the folder",
			name)}
	}
	return target, held, nil
}

// clear removes a dead holder's lock. A second lock makes sure that one alone does so at
// a time: nobody takes a living holder's lock away whom another let in just before. It
// returns who else is at it.
func (l *Lock) clear(dead, target string) (taker *Holder, err error) {
	guard := l.path() + "-clear"
	if made := l.fsys.Symlink(target, guard); made != nil {
		_, held, err := l.read(guard)
		switch {
		case errors.Is(err, fs.ErrNotExist) && errors.Is(made, fs.ErrExist):
			return nil, nil // it is done
		case errors.Is(err, fs.ErrNotExist):
			return nil, unwritable(l.workdir, made)
		case err != nil:
			return nil, err
		case l.dead(*held):
			return nil, l.fsys.Remove(guard)
		}
		return held, nil
	}
	now, _, err := l.read(l.path())
	if err == nil && now == dead {
		err = l.fsys.Remove(l.path())
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, errors.Join(err, l.fsys.Remove(guard))
}

// processStart is about when this process began. In a container, process numbers come
// again: a lock of the own number that is older is of an earlier process.
var processStart = time.Now()

func (l *Lock) dead(h Holder) bool {
	if h.Host == l.holder.Host {
		if h.PID != l.holder.PID && !processAlive(h.PID) {
			return true
		}
		if h.PID == l.holder.PID && h.Since.Before(processStart) {
			return true
		}
	}
	return time.Since(h.Seen) > lockStale
}

// own reports whether the lock still is this one: a process that stood still for longer
// than lockStale may have lost it. A lock that cannot be read is taken to be.
func (l *Lock) own() bool {
	_, held, err := l.read(l.path())
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return held.Host == l.holder.Host && held.PID == l.holder.PID && held.Since.Equal(l.holder.Since)
}

// LockLostError says that another run has taken the work directory over, because the
// holder stood still for more than two minutes. It is a [*LockedError] too.
type LockLostError struct{ LockedError }

// Error says what to do.
func (e *LockLostError) Error() string {
	return e.Workdir + " was taken over by another run while this one stood still; run again when that has ended"
}

// Unwrap returns the error of a work directory that is in use.
func (e *LockLostError) Unwrap() error { return &e.LockedError }

// lockKey finds the lock of a context that [Lock.Context] made.
type lockKey struct{}

// Context returns a context that also ends when the lock is lost to another run, with a
// [*LockLostError] as its cause: two runs must not go on in one work directory. A run in
// it that has lost the lock writes nothing more there.
func (l *Lock) Context(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, lockKey{}, l))
	go func() {
		select {
		case <-l.lost:
			cancel(l.lostError())
		case <-ctx.Done():
		case <-l.stopped:
			cancel(nil)
		}
	}()
	return ctx
}

// lockLost returns the [*LockLostError] of a context whose lock is another's now, or nil. It
// looks at the lock itself, which may be lost for some seconds before the context ends.
func lockLost(ctx context.Context) error {
	if l, ok := ctx.Value(lockKey{}).(*Lock); ok && !l.own() {
		return l.lostError()
	}
	return nil
}

func (l *Lock) lostError() error {
	e := &LockLostError{LockedError{Workdir: l.workdir}}
	if _, held, err := l.read(l.path()); err == nil {
		e.Holder, e.Age = *held, time.Since(held.Seen).Round(time.Second).String()
	}
	return e
}

func (l *Lock) target() (string, error) {
	h := l.holder
	h.Seen = time.Now()
	data, err := json.Marshal(h)
	return string(data), err
}

// keepAlive renews the lock until Release, or until it is lost.
func (l *Lock) keepAlive(every time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.stopped, l.lost = stop, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(l.stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !l.own() {
				close(l.lost)
				<-ctx.Done()
				return
			}
			if target, err := l.target(); err == nil {
				// A failed renewal is tried again at the next beat.
				_ = store.SwapLink(l.fsys, target, l.path())
			}
		}
	}()
}

// Release gives the work directory up. A lock that was lost to another is left to it.
func (l *Lock) Release() error {
	l.stop()
	<-l.stopped
	if !l.own() {
		return nil
	}
	return l.fsys.Remove(l.path())
}
