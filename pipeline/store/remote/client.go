package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// stallMax is how long a server may send nothing before the connection is given up.
const stallMax = 60 * time.Second

// redirectsMax is how many redirects are followed, as net/http does.
const redirectsMax = 10

// client carries out requests.
type client struct {
	retrier
	http *http.Client
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: stallMax,
		DisableCompression:    true, // sizes and offsets are those of the file as it is stored
	}
}

func newClient(opt Options) *client {
	return &client{
		retrier: retrier{attempts: opt.Attempts, wait: opt.Sleep, jitter: opt.Jitter},
		http:    &http.Client{Transport: opt.Transport, CheckRedirect: checkRedirect},
	}
}

// checkRedirect drops the token for good once a redirect leaves the host that it is for,
// and keeps what was asked for over TLS on TLS. The address that led here, with the signature
// that it may hold, is nobody's business, though net/http would tell it.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= redirectsMax {
		return &finalError{fmt.Sprintf("more than %d redirects", redirectsMax)}
	}
	req.Header.Del("Referer")
	for _, before := range via {
		if before.URL.Scheme == "https" && req.URL.Scheme != "https" {
			return &finalError{"the server redirects to an address without TLS"}
		}
		if before.URL.Host != req.URL.Host || before.URL.Scheme != req.URL.Scheme {
			req.Header.Del("Authorization")
			req.Header.Del("Cookie")
		}
	}
	return nil
}

// answer is a body that starts at the byte asked for.
type answer struct {
	body io.ReadCloser
	// skip is how many bytes come before the first one asked for: the server ignores ranges.
	skip int64
}

// request is one GET or HEAD.
type request struct {
	method, url string
	token       secret
	header      map[string]string
}

// secret is a token; formatting it shows none of it.
type secret string

// String hides the token.
func (s secret) String() string { return "[hidden]" }

// GoString hides the token.
func (s secret) GoString() string { return "[hidden]" }

// do sends a request. Answers but 200, 206 and those in also are errors, with the body
// closed.
func (c *client) do(ctx context.Context, r request, also ...int) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, nil)
	if err != nil {
		cancel()
		return nil, &finalError{"the address cannot be understood"}
	}
	req.Header.Set("User-Agent", "bzdata")
	req.Header.Set("Accept-Encoding", "identity")
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if r.token != "" && mayHaveToken(req.URL) {
		req.Header.Set("Authorization", "Bearer "+string(r.token))
	}
	res, err := c.http.Do(req)
	if err != nil {
		cancel()
		return nil, plainError(err)
	}
	res.Body = &watchedBody{ReadCloser: res.Body, cancel: cancel}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusPartialContent {
		return res, nil
	}
	for _, status := range also {
		if res.StatusCode == status {
			return res, nil
		}
	}
	defer res.Body.Close()
	return nil, &statusError{res.StatusCode, plainCode(res.Header.Get("X-Error-Code")), retryAfter(res.Header, time.Now())}
}

// mayHaveToken reports whether a token may go to an address: over TLS, or within this machine.
func mayHaveToken(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	return u.Scheme == "https" || host == "localhost" || ip != nil && ip.IsLoopback()
}

// plainCode lets a server's error code through if it is a word.
func plainCode(s string) string {
	if len(s) > 40 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return ""
	}
	return s
}

// watchedBody gives a body up that stalls. Only the time spent in Read counts: its reader may
// take its time.
type watchedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *watchedBody) Read(p []byte) (int, error) {
	t := time.AfterFunc(stallMax, b.cancel)
	defer t.Stop()
	return b.ReadCloser.Read(p)
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// rangeHeader asks for the bytes from to to.
func rangeHeader(from, to int64) string { return fmt.Sprintf("bytes=%d-%d", from, to-1) }

// checkAnswer compares an answer with what was asked of a file: the bytes from from. It
// returns how many bytes of the body come before them.
func checkAnswer(h http.Header, length int64, e *entry, from int64) (skip int64, err error) {
	if tag := etagOf(h); tag != "" && e.etag != "" && e.commit == "" && tag != e.etag {
		return 0, errChanged
	}
	if h.Get("Content-Range") == "" { // all of it, though a part was asked for
		if length >= 0 && length != e.size {
			return 0, errChanged
		}
		return from, nil
	}
	start, total, err := parseContentRange(h.Get("Content-Range"))
	if err != nil || start > from {
		return 0, errors.New("the server sends another range than it was asked for")
	}
	if total >= 0 && total != e.size {
		return 0, errChanged
	}
	return from - start, nil
}

// parseContentRange reads "bytes START-END/TOTAL"; total is -1 for "*".
func parseContentRange(s string) (start, total int64, err error) {
	bad := errors.New("bad Content-Range")
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, size, found := strings.Cut(rest, "/")
	if !ok || !found {
		return 0, 0, bad
	}
	total = -1
	if size != "*" {
		if total, err = strconv.ParseInt(size, 10, 64); err != nil || total < 0 {
			return 0, 0, bad
		}
	}
	if span == "*" {
		return 0, total, nil
	}
	first, last, _ := strings.Cut(span, "-")
	start, err = strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if err != nil || err2 != nil || start < 0 || end < start || total >= 0 && end >= total {
		return 0, 0, bad
	}
	return start, total, nil
}

// etagOf is the entity tag of an answer without quotes; a weak one keeps its W/ in front.
func etagOf(h http.Header) string {
	tag := strings.TrimSpace(h.Get("Etag"))
	weak := strings.HasPrefix(tag, "W/")
	tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	if weak && tag != "" {
		return "W/" + tag
	}
	return tag
}
