package pipeline

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

// TestNamesHoldNoBlocks keeps source, path and keys of every document of a shard, as ledgers
// keep some: the memory of the documents must be free for others.
func TestNamesHoldNoBlocks(t *testing.T) {
	const docs, bytes = 200, 200 << 10
	fsys := store.NewCrashFS()
	err := store.WriteFile(fsys, "/docs", func(w io.Writer) error {
		dw := newDocWriter(w, false)
		for i := range docs {
			d := &Doc{Source: "source", Path: fmt.Sprint("a file of some name ", i/3), Copies: 1, Slot: -1,
				Fields: []store.Field{{Key: fmt.Sprint("a key of some name ", i/5), Value: []byte("1")}},
				Text:   strings.Repeat("text", bytes/4)}
			if err := dw.Write(d); err != nil {
				return err
			}
		}
		return dw.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // what pools hold is dropped at the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	r, err := openDocs(fsys, "/docs")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for {
		d, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = d.fill()
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, d.Source, d.Path, d.Fields[0].Key)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = nil
	if held := heap() - before; held > docs*bytes/10 {
		t.Errorf("%d names hold %d bytes, and the documents had %d", len(names), held, docs*bytes)
	}
	runtime.KeepAlive(names)
	runtime.KeepAlive(fsys)
}
