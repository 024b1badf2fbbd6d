package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bzdata/pipeline/store"
)

// fault is what goes wrong with one request for content.
type fault struct {
	status int           // answer this instead
	after  string        // with this Retry-After
	reset  int           // break the connection behind so many bytes of the body, if above 0
	whole  bool          // ignore the range
	etag   string        // tell this entity tag
	grow   int           // tell a file that is longer by so much
	cut    bool          // end the body, well-formed, behind half of it
	shift  int           // start so many bytes earlier than asked for
	body   func() []byte // other content
}

// faultServer serves one file; each request takes the next fault, and none when they are out.
type faultServer struct {
	*httptest.Server
	mu       sync.Mutex
	data     []byte
	faults   []fault
	requests []*http.Request
}

func newFaultServer(t *testing.T, data []byte) *faultServer {
	s := &faultServer{data: data}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *faultServer) fail(faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

func (s *faultServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *faultServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	f := fault{}
	if r.Header.Get("Range") != "bytes=0-0" && len(s.faults) > 0 {
		f, s.faults = s.faults[0], s.faults[1:]
	}
	data := s.data
	s.mu.Unlock()
	if f.body != nil {
		data = f.body()
	}
	serveFault(w, r, f, data)
}

func serveFault(w http.ResponseWriter, r *http.Request, f fault, data []byte) {
	h := w.Header()
	if f.after != "" {
		h.Set("Retry-After", f.after)
	}
	if f.status != 0 {
		w.WriteHeader(f.status)
		return
	}
	h.Set("Etag", `"v1"`)
	if f.etag != "" {
		h.Set("Etag", f.etag)
	}
	from, to, status := 0, len(data), http.StatusOK
	if first, last, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"); ok && !f.whole {
		from, _ = strconv.Atoi(first)
		last, _ := strconv.Atoi(last)
		from, to, status = max(0, from-f.shift), min(last+1, len(data)), http.StatusPartialContent
		if from >= len(data) {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(data)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data)+f.grow))
	}
	if f.cut {
		w.WriteHeader(status)
		w.Write(data[from : from+(to-from)/2])
		w.(http.Flusher).Flush() // in chunks, without a length
		return
	}
	h.Set("Content-Length", strconv.Itoa(to-from))
	w.WriteHeader(status)
	if f.reset == 0 {
		w.Write(data[from:to])
		return
	}
	w.Write(data[from:min(to, from+f.reset)])
	w.(http.Flusher).Flush()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0) // a reset, not an end
		conn.Close()
	}
}

// pauses records what would have been waited for.
type pauses struct {
	mu   sync.Mutex
	list []time.Duration
}

func (p *pauses) sleep(ctx context.Context, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, d)
	return ctx.Err()
}

func newTestFS(t *testing.T, env map[string]string) (*FS, *pauses) {
	t.Helper()
	p := &pauses{}
	f := New(t.Context(), store.OS(), Options{Scratch: t.TempDir(), Sleep: p.sleep,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, p
}

func randomBytes(n int) []byte {
	rng, b := rand.New(rand.NewPCG(7, 7)), make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// readWays are ways to read all of a file.
var readWays = map[string]func(store.ReadFile) ([]byte, error){
	"Read": func(f store.ReadFile) ([]byte, error) { return io.ReadAll(f) },
	"ReadAt": func(f store.ReadFile) ([]byte, error) {
		return io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	},
	"ReadAt backwards": func(f store.ReadFile) ([]byte, error) {
		out := make([]byte, f.Size())
		for at := f.Size(); at > 0; {
			from := max(0, at-100_000)
			if n, err := f.ReadAt(out[from:at], from); int64(n) < at-from {
				return nil, err
			}
			at = from
		}
		return out, nil
	},
	"both": func(f store.ReadFile) ([]byte, error) {
		head := make([]byte, f.Size()/3)
		if _, err := io.ReadFull(f, head); err != nil {
			return nil, err
		}
		tail := make([]byte, f.Size()-int64(len(head)))
		if n, err := f.ReadAt(tail, int64(len(head))); n < len(tail) {
			return nil, err
		}
		rest, err := io.ReadAll(f)
		if err == nil && !bytes.Equal(rest, tail) {
			err = errors.New("Read and ReadAt differ")
		}
		return append(head, tail...), err
	},
}

func TestDownloadsMendWhatPasses(t *testing.T) {
	data := randomBytes(3<<20 + 17)
	cases := map[string]struct {
		faults []fault
		pauses int
	}{
		"nothing":          {},
		"reset":            {[]fault{{reset: 1}}, 1},
		"resets":           {[]fault{{reset: 100_000}, {reset: 1000}, {reset: 300_000}, {reset: 7}}, 4},
		"429":              {[]fault{{status: 429}}, 1},
		"500 and 503":      {[]fault{{status: 500}, {status: 503}, {reset: 9}, {status: 502}}, 4},
		"starts earlier":   {[]fault{{reset: 5000}, {shift: 4000}}, 1},
		"ends early":       {[]fault{{cut: true}, {cut: true}}, 2},
		"another etag":     {[]fault{{etag: `"v1"`}}, 0},
		"reset, reset 503": {[]fault{{reset: 200_000}, {reset: 50_000}, {status: 503}}, 3},
	}
	for name, c := range cases {
		for way, read := range readWays {
			if name == "starts earlier" && way != "Read" {
				continue // it is an answer to ReadAt that will not do; see below
			}
			t.Run(name+"/"+way, func(t *testing.T) {
				s := newFaultServer(t, data)
				fsys, waited := newTestFS(t, nil)
				s.fail(c.faults...)
				got, err := readName(fsys, s.URL+"/a.bin", read)
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				// Where a range ends before the fault's place, the fault passes unseen.
				n := len(waited.list)
				if n > c.pauses || n < min(c.pauses, 1) || way == "Read" && n != c.pauses {
					t.Errorf("%d pauses, want %d", n, c.pauses)
				}
			})
		}
	}
}

func readName(fsys store.FS, name string, read func(store.ReadFile) ([]byte, error)) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := read(f)
	return data, errors.Join(err, f.Close())
}

// TestServerWithoutRanges has a server that always sends the whole file.
func TestServerWithoutRanges(t *testing.T) {
	data := randomBytes(1 << 20)
	whole := fault{whole: true}
	s := newFaultServer(t, data)
	fsys, _ := newTestFS(t, nil)
	s.fail(fault{whole: true, reset: 100_000}, fault{whole: true, reset: 300_000}, whole)
	got, err := readName(fsys, s.URL+"/a.bin", readWays["Read"])
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.fail(whole, whole)
	_, err = readName(fsys, s.URL+"/a.bin", readWays["ReadAt backwards"])
	if err == nil || !strings.Contains(err.Error(), "ignores requests for a part of a file") {
		t.Errorf("ReadAt: %v", err)
	}
}

// TestChangedFilesAreErrors never mixes two versions.
func TestChangedFilesAreErrors(t *testing.T) {
	data := randomBytes(1 << 20)
	for name, faults := range map[string][]fault{
		"etag at once":     {{etag: `"v2"`}},
		"etag in between":  {{reset: 100_000}, {etag: `"v2"`}},
		"412":              {{reset: 100_000}, {status: 412}},
		"416":              {{reset: 100_000}, {status: 416}},
		"longer":           {{reset: 100_000}, {grow: 10}},
		"whole and longer": {{reset: 100_000}, {whole: true, body: func() []byte { return append(data, 1) }}},
		"weak etag":        {{reset: 100_000}, {etag: `W/"v1"`}},
	} {
		for way, read := range readWays {
			s := newFaultServer(t, data)
			fsys, _ := newTestFS(t, nil)
			s.fail(faults...)
			if _, err := readName(fsys, s.URL+"/a.bin", read); !errors.Is(err, errChanged) {
				t.Errorf("%s, %s: %v", name, way, err)
			}
		}
	}
}

func TestRetriesAreBounded(t *testing.T) {
	data := randomBytes(100)
	s := newFaultServer(t, data)
	fsys, waited := newTestFS(t, nil)
	many := make([]fault, 1000)
	for i := range many {
		many[i] = fault{status: 503}
	}
	s.fail(many...)
	_, err := readName(fsys, s.URL+"/a.bin", readWays["Read"])
	if err == nil || !strings.Contains(err.Error(), "/a.bin: the server answers 503 Service Unavailable (tried 8 times; run again later)") {
		t.Errorf("%v", err)
	}
	if len(waited.list) != attemptsMax-1 {
		t.Fatalf("%d pauses", len(waited.list))
	}
	for i, p := range waited.list {
		if most := min(pauseMin<<i, pauseMax); p < most/2 || p > most {
			t.Errorf("pause %d is %s", i, p)
		}
	}
	for i := range many {
		many[i] = fault{reset: 1} // each gains a byte
	}
	s.fail(many...)
	if _, err := readName(fsys, s.URL+"/a.bin", readWays["Read"]); err == nil || !strings.Contains(err.Error(), "tried 8 times") {
		t.Errorf("a server that sends single bytes: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	s := newFaultServer(t, []byte("content"))
	fsys, waited := newTestFS(t, nil)
	s.fail(fault{status: 429, after: "120"})
	if _, err := readName(fsys, s.URL+"/a.bin", readWays["Read"]); err != nil || waited.list[0] != 2*time.Minute {
		t.Errorf("%v, %v", err, waited.list)
	}
	s.fail(fault{status: 503, after: "7200"})
	_, err := readName(fsys, s.URL+"/a.bin", readWays["Read"])
	if err == nil || !strings.Contains(err.Error(), "asks to wait 2h0m0s") {
		t.Errorf("%v", err)
	}
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "-5": 0, "x": 0, "10": 10 * time.Second,
		"Wed, 02 Jan 2030 03:05:05 GMT": time.Minute, "Wed, 02 Jan 2020 03:05:05 GMT": 0} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestCancelEndsTheAttempts(t *testing.T) {
	s := newFaultServer(t, randomBytes(1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	fsys := New(ctx, store.OS(), Options{Sleep: func(ctx context.Context, _ time.Duration) error {
		cancel()
		return ctx.Err()
	}})
	defer fsys.Close()
	s.fail(fault{reset: 10}, fault{reset: 10})
	if _, err := readName(fsys, s.URL+"/a.bin", readWays["Read"]); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAStartIsNotTheWhole reads a little of a large file, in order and at its end.
func TestAStartIsNotTheWhole(t *testing.T) {
	data := randomBytes(16 << 20)
	s := newFaultServer(t, data)
	counted := &countingTransport{RoundTripper: newTransport()}
	fsys := New(t.Context(), store.OS(), Options{Transport: counted, Scratch: t.TempDir()})
	defer fsys.Close()
	for name, read := range map[string]func(f store.ReadFile) error{
		"start": func(f store.ReadFile) error { _, err := io.ReadFull(f, make([]byte, 1000)); return err },
		"end":   func(f store.ReadFile) error { _, err := f.ReadAt(make([]byte, 8), f.Size()-8); return err },
	} {
		counted.reset()
		f, err := fsys.Open(s.URL + "/a.bin")
		if err == nil {
			err = errors.Join(read(f), f.Close())
		}
		if n := counted.reset(); err != nil || n > 1<<20 {
			t.Errorf("%s: %d bytes were read, %v", name, n, err)
		}
	}
	got, err := readName(fsys, s.URL+"/a.bin", readWays["ReadAt"])
	if n := counted.reset(); err != nil || !bytes.Equal(got, data) || n != int64(len(data)) {
		t.Errorf("%d bytes were read, %v", n, err)
	}
}

// TestParquetReadsWhatIsNeeded reads the first rows of a Parquet file of two columns.
func TestParquetReadsWhatIsNeeded(t *testing.T) {
	var file bytes.Buffer
	w, err := store.NewParquetWriter(&file, []store.Column{{Name: "text", Type: store.TypeString}, {Name: "extra", Type: store.TypeExtra}})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 60_000 {
		text := fmt.Appendf(nil, `"%d %x %x %x"`, i, rng.Uint64(), rng.Uint64(), rng.Uint64())
		blob := fmt.Appendf(nil, `"%x%x%x%x%x%x%x"`, rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64(),
			rng.Uint64())
		if err := w.Write([]store.Field{{Key: "text", Value: text}, {Key: "blob", Value: blob}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := newFaultServer(t, file.Bytes())
	counted := &countingTransport{RoundTripper: newTransport()}
	fsys := New(t.Context(), store.OS(), Options{Transport: counted, Scratch: t.TempDir()})
	defer fsys.Close()
	rows, err := store.OpenRows(fsys, s.URL+"/a.parquet", store.RowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var row store.Row
	for i := range 100 {
		if err := rows.Next(&row); err != nil || row.Bad != nil || row.Number != int64(i) {
			t.Fatalf("row %d: %v, %v", i, err, row.Bad)
		}
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	n := counted.reset()
	t.Logf("%d of %d bytes for 100 of 60,000 rows", n, file.Len())
	if n > int64(file.Len())/2 {
		t.Errorf("%d of %d bytes were read for 100 rows", n, file.Len())
	}
}

// countingTransport counts the bytes of bodies that are taken.
type countingTransport struct {
	http.RoundTripper
	mu sync.Mutex
	n  int64
}

func (c *countingTransport) reset() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = 0
	return n
}

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &countingBody{res.Body, c}
	}
	return res, err
}

type countingBody struct {
	io.ReadCloser
	to *countingTransport
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.to.mu.Lock()
	b.to.n += int64(n)
	b.to.mu.Unlock()
	return n, err
}

// TestParallelReadersShareWhatIsThere has several readers of one file at once.
func TestParallelReadersShareWhatIsThere(t *testing.T) {
	data := randomBytes(5<<20 + 3)
	s := newFaultServer(t, data)
	fsys, _ := newTestFS(t, nil)
	s.fail(fault{reset: 10}, fault{}, fault{status: 500})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for way, read := range readWays {
				if got, err := readName(fsys, s.URL+"/a.bin", read); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s: %d bytes, %v", way, len(got), err)
				}
			}
		})
	}
	all.Wait()
}

// TestRedirectsDoNotTellTheSignature follows a redirect from a signed address to another host.
func TestRedirectsDoNotTellTheSignature(t *testing.T) {
	data := []byte("content")
	var told http.Header
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told = r.Header.Clone()
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer second.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, second.URL+"/b.jsonl", http.StatusFound)
	}))
	defer first.Close()
	fsys, _ := newTestFS(t, nil)
	name, err := fsys.Hide(first.URL + "/a.jsonl?X-Amz-Signature=5ec2e7")
	if err != nil {
		t.Fatal(err)
	}
	got, err := readName(fsys, name, readWays["Read"])
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%q, %v", got, err)
	}
	if all := fmt.Sprint(told); strings.Contains(all, "5ec2e7") || told.Get("Referer") != "" {
		t.Errorf("the second host is told %s", all)
	}
}
