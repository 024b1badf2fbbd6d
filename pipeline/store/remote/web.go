package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"bzdata/pipeline/store"
)

// webScheme reads files of the web.
type webScheme struct {
	web     *client
	mu      sync.Mutex
	queries map[string]string // by name; they are secrets
}

func (w *webScheme) hide(address string) (name string, err error) {
	name, query, found := strings.Cut(address, "?")
	l, err := store.ParseLocation(name)
	if err != nil {
		return "", err
	}
	name = l.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, known := w.queries[name]; found && known && old != query {
		return "", fmt.Errorf("%s is named with two different queries, which cannot be told apart by name; "+
			"download one of the files", name)
	}
	if found {
		w.queries[name] = query
	}
	return name, nil
}

// address is the whole address of a file; it may hold a signature.
func (w *webScheme) address(l store.Location) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := url.URL{Scheme: l.Scheme, Host: l.Root, RawQuery: w.queries[l.String()]}
	// The path goes out as it was written, as it is what a signature is about.
	u.Path, u.RawPath = "/"+l.Path, "/"+l.Path
	if p, err := url.PathUnescape(l.Path); err == nil {
		u.Path = "/" + p
	}
	return u.String()
}

// stat asks for the first byte, since an address that is signed for GET refuses HEAD.
func (w *webScheme) stat(ctx context.Context, l store.Location) (*entry, error) {
	res, err := w.web.do(ctx, request{method: http.MethodGet, url: w.address(l),
		header: map[string]string{"Range": "bytes=0-0"}}, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return nil, webError(l, err)
	}
	defer res.Body.Close()
	e := &entry{loc: l, size: res.ContentLength, etag: etagOf(res.Header)}
	if res.Header.Get("Content-Range") != "" {
		if _, e.size, err = parseContentRange(res.Header.Get("Content-Range")); err != nil {
			return nil, err
		}
	}
	if e.size < 0 {
		return nil, &store.LocationError{Msg: fmt.Sprintf("%s: the server does not tell the file's size; download it first", l)}
	}
	modified, err := http.ParseTime(res.Header.Get("Last-Modified"))
	if err == nil {
		e.time = modified
	} else if e.etag == "" {
		return nil, &store.LocationError{Msg: fmt.Sprintf("%s: the server tells neither ETag nor Last-Modified, "+
			"so that a change could not be seen; download it first", l)}
	}
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" && store.CompressionOf(l.Path) == store.Plain {
		return nil, &store.LocationError{Msg: fmt.Sprintf("%s: the server sends it compressed (%s); download it first, "+
			"or have it named .gz or .zst", l, plainCode(enc))}
	}
	return e, nil
}

func (w *webScheme) list(_ context.Context, l store.Location) ([]*entry, error) {
	return nil, &store.LocationError{Msg: fmt.Sprintf("%s: files of the web cannot be listed; name each one", l)}
}

func (w *webScheme) open(ctx context.Context, e *entry, from, to int64) (*answer, error) {
	r := request{method: http.MethodGet, url: w.address(e.loc), header: map[string]string{"Range": rangeHeader(from, to)}}
	if e.etag != "" && !strings.HasPrefix(e.etag, "W/") {
		r.header["If-Match"] = `"` + e.etag + `"`
	}
	res, err := w.web.do(ctx, r)
	if err != nil {
		return nil, webError(e.loc, err)
	}
	skip, err := checkAnswer(res.Header, res.ContentLength, e, from)
	if err == nil && e.etag == "" && !sameTime(res.Header, e) {
		err = errChanged
	}
	if err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	return &answer{res.Body, skip}, nil
}

func sameTime(h http.Header, e *entry) bool {
	t, err := http.ParseTime(h.Get("Last-Modified"))
	return err != nil || t.Equal(e.time)
}

// webError says what a status means.
func webError(l store.Location, err error) error {
	var status *statusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.status {
	case http.StatusNotFound, http.StatusGone:
		return &fs.PathError{Op: "open", Path: l.String(), Err: fs.ErrNotExist}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &store.LocationError{Msg: fmt.Sprintf("%s: %s; a signed address may have run out: get a new one", l, err)}
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return errChanged
	}
	return err
}
