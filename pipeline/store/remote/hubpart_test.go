package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote/remotetest"
)

const partsFile = "hf://datasets/owner/name@main/data/big.bin"

// partHub is a hub with one large file, whose content can be made to break off.
type partHub struct {
	*remotetest.Hub
	t    *testing.T
	env  map[string]string
	data []byte

	mu    sync.Mutex
	cut   int     // where content breaks off, or, if it stalls, stays away; 0 is nowhere
	stall bool    // do not break off, but send no more
	from  []int64 // where the ranges asked for began
}

func newPartHub(t *testing.T, data []byte) *partHub {
	if !locksHold(t.TempDir()) {
		t.Skip("locks of this file system are not trusted")
	}
	h := &partHub{t: t, data: data}
	h.Hub = remotetest.NewHub("owner/name", map[string][]byte{"data/big.bin": data},
		func(hub *remotetest.Hub) { hub.Content = h.content })
	t.Cleanup(h.Close)
	h.env = hubEnv(t, h.Hub)
	return h
}

func (h *partHub) content(w http.ResponseWriter, r *http.Request) bool {
	from, to := 0, 0
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
	h.mu.Lock()
	h.from = append(h.from, int64(from))
	cut, stall := h.cut, h.stall
	h.mu.Unlock()
	switch {
	case cut == 0 || to < cut:
		return false
	case stall:
		h.serve(w, from, to, cut)
		<-r.Context().Done()
	case from >= cut:
		serveFault(w, r, fault{status: http.StatusServiceUnavailable}, nil)
	default:
		h.serve(w, from, to, cut)
		panic(http.ErrAbortHandler) // the connection ends
	}
	return true
}

// serve sends what comes before cut of a range.
func (h *partHub) serve(w http.ResponseWriter, from, to, cut int) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(h.data)))
	w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(h.data[from:max(from, cut)])
	w.(http.Flusher).Flush()
}

func (h *partHub) breakAt(cut int, stall bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut, h.stall = cut, stall
}

// asked lists where ranges began that were asked for since the last call.
func (h *partHub) asked() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := h.from
	h.from = nil
	return from
}

func (h *partHub) blobs() string {
	return filepath.Join(h.env["HF_HOME"], "hub", "datasets--owner--name", "blobs")
}

// parts are the names of what is incomplete.
func (h *partHub) parts() []string {
	names, err := filepath.Glob(filepath.Join(h.blobs(), "*"+partSuffix))
	if err != nil {
		h.t.Fatal(err)
	}
	return names
}

// checkDone reads the file once more, from the cache, and wants nothing else to be there.
func (h *partHub) checkDone() {
	h.t.Helper()
	fsys, _ := newTestFS(h.t, h.env)
	h.asked()
	got, err := readName(fsys, partsFile, readWays["Read"])
	if err != nil || !bytes.Equal(got, h.data) || len(h.asked()) > 0 {
		h.t.Errorf("%d bytes of %d, %v; not from the cache", len(got), len(h.data), err)
	}
	if left := h.parts(); len(left) > 0 {
		h.t.Errorf("left in the cache: %v", left)
	}
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// kill does to a file system what the end of its process would: its files are closed, and
// nothing is put in order.
func kill(f *FS, open ...store.ReadFile) {
	for _, o := range open {
		if d, ok := o.(*download); !ok {
			o.Close()
		} else if d.body != nil {
			d.body.Close()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.spools {
		s.file.Close()
		delete(f.spools, name)
	}
	f.idle = nil
}

func openName(t *testing.T, f store.FS, name string) store.ReadFile {
	t.Helper()
	file, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// readSome reads so many bytes from the start.
func readSome(t *testing.T, f store.ReadFile, n int) {
	t.Helper()
	if _, err := io.ReadFull(f, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

func readSomeAt(t *testing.T, f store.ReadFile, at int64) {
	t.Helper()
	if _, err := f.ReadAt(make([]byte, 10), at); err != nil {
		t.Fatal(err)
	}
}

func TestPartsAreTakenOver(t *testing.T) {
	data := randomBytes(12*blockBytes + 5)
	for name, c := range map[string]struct {
		before func(f store.ReadFile)
		asked  []int64 // by the next process, in blocks
	}{
		"nothing":     {func(store.ReadFile) {}, []int64{0}},
		"no block":    {func(f store.ReadFile) { readSome(t, f, blockBytes-1) }, []int64{0}},
		"a start":     {func(f store.ReadFile) { readSome(t, f, 4*blockBytes+7) }, []int64{4}},
		"an end":      {func(f store.ReadFile) { readSomeAt(t, f, f.Size()-10) }, []int64{0}},
		"pieces":      {func(f store.ReadFile) { readSomeAt(t, f, 3*blockBytes); readSomeAt(t, f, 6*blockBytes-5) }, []int64{0, 4, 7}},
		"all but one": {func(f store.ReadFile) { readSome(t, f, 12*blockBytes); readSomeAt(t, f, 0) }, []int64{12}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newPartHub(t, data)
			first, _ := newTestFS(t, h.env)
			f := openName(t, first, partsFile)
			c.before(f)
			kill(first, f)
			if n := len(h.parts()); n != 1 {
				t.Fatalf("%d parts are left", n)
			}
			h.asked()
			second, _ := newTestFS(t, h.env)
			got, err := readName(second, partsFile, readWays["Read"])
			asked := h.asked()
			for i := range asked {
				asked[i] /= blockBytes
			}
			if err != nil || !bytes.Equal(got, data) || !slices.Equal(asked, c.asked) {
				t.Errorf("%d bytes, %v; asked for blocks from %v, want %v", len(got), err, asked, c.asked)
			}
			h.checkDone()
		})
	}
}

// TestPartsSurviveAnything kills and damages at random; what is read is always right.
func TestPartsSurviveAnything(t *testing.T) {
	data := randomBytes(7*blockBytes + 1000)
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 2))
		h := newPartHub(t, data)
		for range 12 {
			ctx, cancel := context.WithCancel(t.Context())
			fsys := New(ctx, store.OS(), Options{Scratch: t.TempDir(), Sleep: (&pauses{}).sleep,
				Env: func(name string) (string, bool) { v, ok := h.env[name]; return v, ok }})
			h.breakAt(rng.IntN(2)*rng.IntN(len(data)), false)
			f := openName(t, fsys, partsFile)
			if err := readOddly(f, data, rng); errors.Is(err, errDiffers) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			endSomehow(t, fsys, f, cancel, rng)
			cancel()
			damage(t, h.parts(), rng)
		}
		h.breakAt(0, false)
		fsys, _ := newTestFS(t, h.env)
		if got, err := readName(fsys, partsFile, readWays["Read"]); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("seed %d: %d bytes, %v", seed, len(got), err)
		}
		fsys.Close()
		h.checkDone()
	}
}

// endSomehow ends a file system in one of several ways.
func endSomehow(t *testing.T, fsys *FS, f store.ReadFile, cancel func(), rng *rand.Rand) {
	switch rng.IntN(4) {
	case 0, 1:
		kill(fsys, f)
		return
	case 2:
		cancel()
	}
	if err := errors.Join(f.Close(), fsys.Close()); err != nil {
		t.Fatal(err)
	}
}

// damage changes a byte, or cuts or lengthens, or none of that.
func damage(t *testing.T, parts []string, rng *rand.Rand) {
	for _, name := range parts {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			continue
		}
		switch at := rng.IntN(len(data)); rng.IntN(8) {
		case 0, 1:
			data[at] ^= 1
		case 2:
			data[len(data)-1-rng.IntN(min(len(data), 80))] ^= 1
		case 3:
			data = data[:at]
		case 4:
			data = append(data, 0)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzPart has any bytes stand for a part.
func FuzzPart(f *testing.F) {
	data := randomBytes(blockBytes + 100)
	sums := make([]byte, 16)
	f.Add([]byte{}, []byte{}, uint16(8))
	f.Add(data, append(sums, partMagic...), uint16(0))
	f.Add(data[:1000], append(bytes.Repeat([]byte{1}, 16), partMagic...), uint16(0))
	f.Fuzz(func(t *testing.T, content, tail []byte, short uint16) {
		h := newPartHub(t, data)
		left := make([]byte, max(0, len(data)-int(short)))
		copy(left, content)
		name := filepath.Join(h.blobs(), hexSHA256(data)+partInfix+"0"+partSuffix)
		if err := errors.Join(os.MkdirAll(h.blobs(), 0o777), os.WriteFile(name, append(left, tail...), 0o600)); err != nil {
			t.Fatal(err)
		}
		fsys, _ := newTestFS(t, h.env)
		got, err := readName(fsys, partsFile, readWays["Read"])
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		h.checkDone()
	})
}

// TestTwoLiveProcesses has two file systems, as two processes are, download one file at once.
func TestTwoLiveProcesses(t *testing.T) {
	h := newPartHub(t, randomBytes(9*blockBytes))
	one, _ := newTestFS(t, h.env)
	two, _ := newTestFS(t, h.env)
	dead, _ := newTestFS(t, h.env)
	f, g, x := openName(t, one, partsFile), openName(t, two, partsFile), openName(t, dead, partsFile)
	readSome(t, f, 2*blockBytes)
	readSome(t, g, 3*blockBytes)
	readSome(t, x, 5*blockBytes)
	if n := len(h.parts()); n != 3 {
		t.Errorf("%d parts of three processes", n)
	}
	kill(dead, x)
	h.asked()
	three, _ := newTestFS(t, h.env)
	for i, read := range []func() ([]byte, error){
		func() ([]byte, error) { return readName(three, partsFile, readWays["Read"]) },
		func() ([]byte, error) { return readWays["ReadAt"](f) },
		func() ([]byte, error) { return readWays["ReadAt backwards"](g) },
	} {
		if got, err := read(); err != nil || !bytes.Equal(got, h.data) {
			t.Errorf("%d: %d bytes, %v", i, len(got), err)
		}
		if i == 0 && !slices.Equal(h.asked(), []int64{5 * blockBytes}) {
			t.Error("the part that nobody had was not the one that was taken over")
		}
	}
	if err := errors.Join(f.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	for _, fsys := range []*FS{one, two, three} {
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	}
	h.checkDone()
}

// TestKilledProcess kills a process of its own in a download that this one goes on with.
func TestKilledProcess(t *testing.T) {
	const bytesRead = 3*blockBytes + 1000
	if os.Getenv("BZDATA_TEST_DOWNLOAD") != "" {
		fsys := New(t.Context(), store.OS(), Options{Env: os.LookupEnv})
		f := openName(t, fsys, partsFile)
		readSome(t, f, bytesRead)
		fmt.Println("read")
		io.Copy(io.Discard, f) // until the end of the process: the server sends no more
		return
	}
	h := newPartHub(t, randomBytes(8*blockBytes))
	h.breakAt(bytesRead, true)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), "BZDATA_TEST_DOWNLOAD=1", "HF_ENDPOINT="+h.URL, "HF_HOME="+h.env["HF_HOME"], "HF_HUB_CACHE=",
		"HF_HUB_OFFLINE=", "HF_TOKEN=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "read\n" {
		t.Errorf("the process says %q, %v", line, err)
	}
	beside, _ := newTestFS(t, h.env)
	f := openName(t, beside, partsFile)
	readSomeAt(t, f, 0)
	if n := len(h.parts()); n != 2 {
		t.Errorf("%d parts of two processes", n)
	}
	if err := errors.Join(f.Close(), beside.Close(), cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process was not killed")
	}
	h.breakAt(0, false)
	h.asked()
	fsys, _ := newTestFS(t, h.env)
	got, err := readName(fsys, partsFile, readWays["Read"])
	if asked := h.asked(); err != nil || !bytes.Equal(got, h.data) || !slices.Equal(asked, []int64{3 * blockBytes}) {
		t.Errorf("%d bytes, %v; asked from %d", len(got), err, asked)
	}
	h.checkDone()
}

// TestWhatIsBrokenOffIsKept closes file systems in the middle of downloads.
func TestWhatIsBrokenOffIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		cut    int
		cancel bool
		kept   bool
	}{
		"by choice":         {0, false, false},
		"by the server":     {3 * blockBytes, false, true},
		"by an interrupt":   {0, true, true},
		"before it had any": {blockBytes - 1, false, false},
	} {
		h := newPartHub(t, randomBytes(5*blockBytes))
		h.breakAt(c.cut, false)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fsys := New(ctx, store.OS(), Options{Scratch: t.TempDir(), Sleep: (&pauses{}).sleep,
			Env: func(name string) (string, bool) { v, ok := h.env[name]; return v, ok }})
		_, err := readName(fsys, partsFile, func(f store.ReadFile) ([]byte, error) {
			return io.ReadAll(io.LimitReader(f, 3*blockBytes+1))
		})
		if (err != nil) != (c.cut > 0) {
			t.Errorf("%s: %v", name, err)
		}
		if c.cancel {
			cancel()
		}
		if err := fsys.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(h.parts()); n > 1 || n == 1 != c.kept {
			t.Errorf("%s: %d parts are kept", name, n)
		}
		h.breakAt(0, false)
		h.asked()
		again, _ := newTestFS(t, h.env)
		got, err := readName(again, partsFile, readWays["Read"])
		if asked := h.asked(); err != nil || !bytes.Equal(got, h.data) || c.kept != slices.Equal(asked, []int64{3 * blockBytes}) {
			t.Errorf("%s: %d bytes, %v; asked from %d", name, len(got), err, asked)
		}
		h.checkDone()
	}
}

// TestALookKeepsThePart reads a little of what a killed process has left.
func TestALookKeepsThePart(t *testing.T) {
	h := newPartHub(t, randomBytes(5*blockBytes))
	first, _ := newTestFS(t, h.env)
	f := openName(t, first, partsFile)
	readSome(t, f, 3*blockBytes)
	kill(first, f)
	second, _ := newTestFS(t, h.env)
	f = openName(t, second, partsFile)
	readSomeAt(t, f, 100)
	if err := errors.Join(f.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	h.asked()
	third, _ := newTestFS(t, h.env)
	got, err := readName(third, partsFile, readWays["Read"])
	if asked := h.asked(); err != nil || !bytes.Equal(got, h.data) || !slices.Equal(asked, []int64{3 * blockBytes}) {
		t.Errorf("%d bytes, %v; asked from %d", len(got), err, asked)
	}
	h.checkDone()
}
