package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
}

// Acquire takes the work directory for this process, waiting up to wait if another
// holds it. A [*LockedError] names the holder. A holder that died on this host, or was
// not seen for two minutes, loses the lock. ctx ends the waiting.
func Acquire(ctx context.Context, fsys store.FS, workdir string, wait time.Duration) (*Lock, error) {
	if err := fsys.MkdirAll(workdir); err != nil {
		return nil, fmt.Errorf("work directory %s: %w; choose another with --workdir", workdir, err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	l := &Lock{fsys: fsys, workdir: workdir, holder: Holder{Host: host, PID: os.Getpid(), Since: time.Now()}}
	deadline := time.Now().Add(wait)
	for {
		held, err := l.try()
		if err != nil {
			return nil, err
		}
		if held == nil {
			l.keepAlive()
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

func (l *Lock) path() string { return filepath.Join(l.workdir, lockName) }

// try takes the lock, or returns who holds it.
func (l *Lock) try() (*Holder, error) {
	target, err := l.target()
	if err != nil {
		return nil, err
	}
	made := l.fsys.Symlink(target, l.path())
	if made == nil {
		return nil, nil
	}
	now, err := l.fsys.Readlink(l.path())
	if err != nil {
		if errors.Is(err, os.ErrNotExist) && !errors.Is(made, os.ErrExist) {
			return nil, fmt.Errorf("work directory %s cannot be written: %w; choose another with --workdir", l.workdir, made)
		}
		return &l.holder, nil // it changed under us: look again
	}
	var held Holder
	if err := json.Unmarshal([]byte(now), &held); err != nil {
		return nil, &UsageError{Msg: fmt.Sprintf("%s is not a lock of this program; remove it if no run uses the folder",
			l.path())}
	}
	if !l.dead(held) {
		return &held, nil
	}
	return l.takeOver(now, held)
}

// takeOver removes a dead holder's lock. Renaming it away first makes sure that only
// one of several takers removes it, and that none removes a living one's.
func (l *Lock) takeOver(dead string, held Holder) (*Holder, error) {
	aside := l.path() + "-" + strconv.Itoa(l.holder.PID)
	if err := l.fsys.Rename(l.path(), aside); err != nil {
		return &held, nil
	}
	if moved, err := l.fsys.Readlink(aside); err != nil || moved != dead {
		return &held, errors.Join(err, l.fsys.Rename(aside, l.path()))
	}
	if err := l.fsys.Remove(aside); err != nil {
		return nil, err
	}
	return l.try()
}

func (l *Lock) dead(h Holder) bool {
	if h.Host == l.holder.Host && h.PID != l.holder.PID && !processAlive(h.PID) {
		return true
	}
	return time.Since(h.Seen) > lockStale
}

func (l *Lock) target() (string, error) {
	h := l.holder
	h.Seen = time.Now()
	data, err := json.Marshal(h)
	return string(data), err
}

// keepAlive renews the lock until Release.
func (l *Lock) keepAlive() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.stopped = stop, make(chan struct{})
	go func() {
		defer close(l.stopped)
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if target, err := l.target(); err == nil {
					// A failed renewal is tried again at the next beat.
					_ = store.SwapLink(l.fsys, target, l.path())
				}
			}
		}
	}()
}

// Release gives the work directory up.
func (l *Lock) Release() error {
	l.stop()
	<-l.stopped
	return l.fsys.Remove(l.path())
}
