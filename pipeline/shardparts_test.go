package pipeline_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

func putParts(t testing.TB, fsys store.FS, parts [][]byte) {
	t.Helper()
	err := store.WriteFile(fsys, "/parts", func(w io.Writer) error { return pipeline.WriteShardParts(w, parts) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestShardParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 12 {
		parts := make([][]byte, n)
		for i := range parts {
			parts[i] = bytes.Repeat([]byte{byte(i + 1)}, rng.IntN(4)*rng.IntN(50))
		}
		fsys := store.NewCrashFS()
		putParts(t, fsys, parts)
		for shard := range n + 3 {
			var want []byte
			if shard < n {
				want = parts[shard]
			}
			got, err := pipeline.ReadShardPart(fsys, "/parts", shard)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d parts, part %d is %v, %v; want %v", n, shard, got, err, want)
			}
		}
	}
}

// countingFS counts the bytes that are read.
type countingFS struct {
	store.FS
	bytes *int64
}

func (c countingFS) Open(name string) (store.ReadFile, error) {
	f, err := c.FS.Open(name)
	return countingFile{f, c.bytes}, err
}

type countingFile struct {
	store.ReadFile
	bytes *int64
}

func (c countingFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.ReadFile.ReadAt(p, at)
	*c.bytes += int64(n)
	return n, err
}

// TestShardPartsReadsOnlyItsOwn is what keeps a run of many files linear.
func TestShardPartsReadsOnlyItsOwn(t *testing.T) {
	parts := make([][]byte, 1000)
	for i := range parts {
		parts[i] = make([]byte, 5000)
	}
	fsys := store.NewCrashFS()
	putParts(t, fsys, parts)
	read := int64(0)
	for shard := range parts {
		if _, err := pipeline.ReadShardPart(countingFS{fsys, &read}, "/parts", shard); err != nil {
			t.Fatal(err)
		}
	}
	if most := int64(1000 * (5000 + 48)); read > most {
		t.Errorf("%d bytes were read of %d", read, most)
	}
}

func TestDamagedShardParts(t *testing.T) {
	fsys := store.NewCrashFS()
	putParts(t, fsys, [][]byte{[]byte("one"), nil, []byte("three")})
	whole, err := store.ReadAll(fsys, "/parts")
	if err != nil {
		t.Fatal(err)
	}
	patch := func(at int, b string) []byte {
		return append(append(whole[:at:at], b...), whole[at+len(b):]...)
	}
	table, tail := len(whole)-40, len(whole)-16
	for what, data := range map[string][]byte{
		"empty": nil, "other magic": patch(tail+8, "BZSHP00\n"), "cut table": whole[:table+20],
		"cut block": whole[3:], "cut magic": whole[:len(whole)-1],
		"long table":      patch(tail, "\xff\xff\xff\xff\xff\xff\xff\x7f"),
		"falling offsets": patch(table+8, "\xff"), "far offsets": patch(table+16, "\xff\xff"),
	} {
		if err := store.WriteBytes(fsys, "/damaged", data); err != nil {
			t.Fatal(err)
		}
		bad := 0
		for shard := range 3 {
			if part, err := pipeline.ReadShardPart(fsys, "/damaged", shard); err != nil {
				bad++
				if !strings.Contains(err.Error(), "/damaged") {
					t.Errorf("%s: the error does not name the file: %v", what, err)
				}
			} else if want := []string{"one", "", "three"}[shard]; string(part) != want {
				t.Errorf("%s: part %d is %q", what, shard, part)
			}
		}
		if bad == 0 {
			t.Errorf("%s: read without an error", what)
		}
	}
}

// FuzzShardPart checks that no file makes the reader fail in other ways than by an error.
func FuzzShardPart(f *testing.F) {
	var b bytes.Buffer
	if err := pipeline.WriteShardParts(&b, [][]byte{[]byte("one"), nil, []byte("three")}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), 2)
	f.Add([]byte(fmt.Sprint(strings.Repeat("\x00", 16), "BZSHP02\n")), 0)
	f.Fuzz(func(t *testing.T, data []byte, shard int) {
		fsys := store.NewCrashFS()
		if err := store.WriteBytes(fsys, "/f", data); err != nil {
			t.Fatal(err)
		}
		part, err := pipeline.ReadShardPart(fsys, "/f", max(0, shard))
		if err == nil && len(part) > len(data) {
			t.Fatalf("%d bytes of a file of %d", len(part), len(data))
		}
	})
}
