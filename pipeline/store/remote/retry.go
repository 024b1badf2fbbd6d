package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"bzdata/pipeline/store"
)

// How long and how often. Pauses double from pauseMin to pauseMax, each between half and
// all of that ("equal jitter"); eight attempts take about a minute.
const (
	attemptsMax = 8
	pauseMin    = 500 * time.Millisecond
	pauseMax    = 30 * time.Second
	// askedPauseMax is the longest Retry-After that is waited for.
	askedPauseMax = 5 * time.Minute
	// gainBytes is how much a download must have gained since it last broke off for its
	// attempts to be counted anew: so that their number is bounded by the file's size.
	gainBytes = 1 << 20
)

// retrier decides about pauses. It is safe for concurrent use.
type retrier struct {
	attempts int
	wait     func(ctx context.Context, d time.Duration) error
	mu       sync.Mutex
	jitter   *rand.Rand
}

// try calls do until it succeeds or fails for good. name goes into the error.
func (r *retrier) try(ctx context.Context, name string, do func(ctx context.Context) error) error {
	for failed := 1; ; failed++ {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, name, failed, err); err != nil {
			return err
		}
	}
}

// pause waits after a failure, or returns the error that ends the attempts.
func (r *retrier) pause(ctx context.Context, name string, failed int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !temporary(err) {
		return named(name, err)
	}
	if failed >= r.attempts {
		return fmt.Errorf("%w (tried %d times; run again later)", named(name, err), failed)
	}
	pause := min(pauseMin<<min(failed-1, 20), pauseMax)
	r.mu.Lock()
	pause = pause/2 + time.Duration(r.jitter.Int64N(int64(pause/2)+1))
	r.mu.Unlock()
	var status *statusError
	if errors.As(err, &status) && status.retryAfter > askedPauseMax {
		return fmt.Errorf("%w (the server asks to wait %s; run again then)", named(name, err), status.retryAfter)
	} else if status != nil {
		pause = max(pause, status.retryAfter)
	}
	return r.wait(ctx, pause)
}

// named puts a name before an error, unless it tells one already.
func named(name string, err error) error {
	var location *store.LocationError
	var path *fs.PathError
	if errors.As(err, &location) || errors.As(err, &path) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return fmt.Errorf("%s: %w", name, err)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// statusError is an answer that is none of the expected.
type statusError struct {
	status     int
	code       string // the server's own, such as GatedRepo or SlowDown
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.status, http.StatusText(e.status))
	if e.code != "" {
		text += " (" + e.code + ")"
	}
	return text
}

// errChanged says that a file is no longer the one that was seen first.
var errChanged = errors.New("the file changed during the run; run again when nothing writes to it")

// temporary reports whether an error may pass by itself.
func temporary(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		switch status.status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var (
		location *store.LocationError
		cert     *tls.CertificateVerificationError
		dns      *net.DNSError
		path     *fs.PathError
		final    *finalError
	)
	switch {
	case errors.As(err, &location), errors.As(err, &cert), errors.As(err, &path), errors.As(err, &final):
		return false
	case errors.As(err, &dns) && dns.IsNotFound:
		return false
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errChanged):
		return false
	}
	return true // a broken connection, a time limit, an answer cut short
}

// finalError is an error that no further attempt would mend.
type finalError struct{ msg string }

func (e *finalError) Error() string { return e.msg }

// plainError takes the address, which may hold a signature, off an error of net/http.
func plainError(err error) error {
	var inner *url.Error
	for errors.As(err, &inner) {
		err = inner.Err
	}
	if clean := store.RedactText(err.Error()); clean != err.Error() {
		return errors.New(clean)
	}
	return err
}

// retryAfter reads the header Retry-After (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
