package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote/remotetest"
)

// manyFiles is a hub with more files of two blocks than may stay open.
type manyFiles struct {
	*remotetest.Hub
	env   map[string]string
	files [][]byte
}

func newManyFiles(t *testing.T) *manyFiles {
	const size = blockBytes + 1000
	m, data, files := &manyFiles{}, randomBytes(size+3*idleMax), map[string][]byte{}
	for i := range 3 * idleMax {
		m.files = append(m.files, data[i:i+size])
		files[fmt.Sprintf("data/%d.bin", i)] = m.files[i]
	}
	m.Hub = remotetest.NewHub("owner/name", files)
	t.Cleanup(m.Close)
	m.env = hubEnv(t, m.Hub)
	return m
}

func (m *manyFiles) open(t *testing.T, fsys store.FS, i int) store.ReadFile {
	return openName(t, fsys, fmt.Sprintf("hf://datasets/owner/name@main/data/%d.bin", i))
}

// fetches counts the requests for content since the last call.
func (m *manyFiles) fetches() int {
	n := 0
	for _, r := range m.Requests() {
		if strings.HasPrefix(r, "GET /data/") {
			n++
		}
	}
	return n
}

// kept counts parts, and the descriptors of this process that lead into the cache, or -1.
func (m *manyFiles) kept(t *testing.T) (parts, descriptors int) {
	names, err := filepath.Glob(filepath.Join(m.env["HF_HOME"], "hub", "*", "blobs", "*"+partSuffix))
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return len(names), -1
	}
	for _, fd := range open {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && strings.HasPrefix(to, m.env["HF_HOME"]) {
			descriptors++
		}
	}
	return len(names), descriptors
}

// TestManyFilesReadInPart opens file after file, of which a block is read each.
func TestManyFilesReadInPart(t *testing.T) {
	m := newManyFiles(t)
	fsys, _ := newTestFS(t, m.env)
	read := func(i int) {
		t.Helper()
		f, p := m.open(t, fsys, i), make([]byte, 1000)
		if _, err := f.ReadAt(p, 500); err != nil || !bytes.Equal(p, m.files[i][500:1500]) {
			t.Errorf("file %d: %v", i, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	for i := range m.files {
		read(i)
		if parts, fds := m.kept(t); parts > idleMax || fds > idleMax || len(fsys.spools) > idleMax {
			t.Fatalf("%d files: %d parts, %d descriptors, %d spools", i+1, parts, fds, len(fsys.spools))
		}
	}
	if n := m.fetches(); n != len(m.files) {
		t.Errorf("%d requests for %d files", n, len(m.files))
	}
	for i := range idleMax {
		read(len(m.files) - 1 - i)
	}
	if n := m.fetches(); n != 0 {
		t.Errorf("%d requests for files that were kept", n)
	}
	read(0)
	if n := m.fetches(); n != 1 {
		t.Errorf("%d requests for a file that was not kept", n)
	}
	read(len(m.files) - idleMax) // released last before that
	if n := m.fetches(); n != 0 {
		t.Error("the file that was read last was given up")
	}
	if err := fsys.Close(); err != nil {
		t.Error(err)
	}
	if parts, fds := m.kept(t); parts > 0 || fds > 0 {
		t.Errorf("%d parts and %d descriptors are left", parts, fds)
	}
}

// TestManyReaders has readers at work on many files at once.
func TestManyReaders(t *testing.T) {
	m := newManyFiles(t)
	fsys, _ := newTestFS(t, m.env)
	var all sync.WaitGroup
	for reader := range uint64(4) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(reader, 3))
			for range 60 {
				i := rng.IntN(len(m.files))
				f, err := fsys.Open(fmt.Sprintf("hf://datasets/owner/name@main/data/%d.bin", i))
				if err == nil {
					err = errors.Join(readOddly(f, m.files[i], rng), f.Close())
				}
				if err != nil {
					t.Errorf("reader %d, file %d: %v", reader, i, err)
				}
			}
		})
	}
	all.Wait()
	if err := fsys.Close(); err != nil {
		t.Error(err)
	}
	if parts, fds := m.kept(t); parts > 0 || fds > 0 {
		t.Errorf("%d parts and %d descriptors are left", parts, fds)
	}
	for i, data := range m.files {
		if got, err := readName(fsys, fmt.Sprintf("hf://datasets/owner/name@main/data/%d.bin", i), readWays["Read"]); err != nil ||
			!bytes.Equal(got, data) {
			t.Errorf("file %d: %d bytes, %v", i, len(got), err)
		}
	}
}
