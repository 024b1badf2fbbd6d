package ngram

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/zeebo/xxh3"
)

// sealed appends the checksum.
func sealed(data []byte) []byte {
	return binary.LittleEndian.AppendUint64(slices.Clone(data), xxh3.Hash(data))
}

// TestFileBytes spells out the file of order 2 over the one-word document "a".
func TestFileBytes(t *testing.T) {
	u64 := binary.LittleEndian.AppendUint64
	want := []byte("BZNGRAM\n\x01\x00\x00\x00\x02\x00\x00\x00")
	for _, v := range []uint64{20, 1, 1, 2, 1, 2, 0, 0, 0} { // bytes, min_count, documents, tokens, words, n-grams
		want = u64(want, v)
	}
	want = u64(want, hash("a"))
	want = append(want, 0, 0, 1, 1) // <unk>, <s>, </s>, a
	want = append(want, 0)          // after <unk> nothing
	want = append(want, 1, 3, 1)    // after <s> word 3, a, once
	want = append(want, 0)          // after </s> nothing
	want = append(want, 1, 2, 1)    // after a word 2, </s>, once
	want = sealed(want)
	if got := file(t, trained(t, Config{Order: 2}, parse("a"))); !bytes.Equal(got, want) {
		t.Errorf("file\n%q, want\n%q", got, want)
	}
}

// TestFileRoundTrip checks that a model read back scores to the same bit, and that
// reading stops at the end of the file.
func TestFileRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	documents := parse(randomText(r, 3000))
	for order := 1; order <= OrderMax; order++ {
		m := trained(t, Config{Order: order, MinCount: order}, documents)
		data := file(t, m)
		in := iotest.OneByteReader(io.MultiReader(bytes.NewReader(data), strings.NewReader("more")))
		back, err := Read(in)
		if err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(in); string(rest) != "more" || err != nil {
			t.Errorf("order %d: %q is left to read, %v", order, rest, err)
		}
		if !bytes.Equal(file(t, back), data) || !slices.Equal(back.Stats(), m.Stats()) || back.head != m.head {
			t.Errorf("order %d: another model was read", order)
		}
		if !slices.Equal(back.words, m.words) || !slices.EqualFunc(back.middle, m.middle, slices.Equal) ||
			!slices.Equal(back.last, m.last) || back.MemoryBytes() > m.MemoryBytes() {
			t.Errorf("order %d: the tables differ", order)
		}
		if !SameVocabulary(m, back) || SameVocabulary(m, trained(t, Config{}, parse("z"))) {
			t.Errorf("order %d: SameVocabulary is wrong", order)
		}
	}
}

// TestFileDamage changes every byte, and cuts at every length.
func TestFileDamage(t *testing.T) {
	data := file(t, trained(t, Config{}, parse("a b c . a b | c a")))
	for i := range data {
		bad := slices.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if _, err := Read(bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
		if _, err := Read(bytes.NewReader(data[:i])); err == nil || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for _, tc := range []struct {
		at   int
		with byte
		want string
	}{
		{0, 'b', "not such a file"},
		{8, 2, "version 2 of the file, but this program reads version 1"},
		{12, 6, "contradict"},
		{len(data) - 1, data[len(data)-1] + 1, "checksum"},
	} {
		bad := slices.Clone(data)
		bad[tc.at] = tc.with
		if _, err := Read(bytes.NewReader(bad)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("byte %d set to %d: %v, want %s", tc.at, tc.with, err, tc.want)
		}
	}
	broken := errors.New("broken disk")
	if _, err := Read(io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a reading error becomes %v", err)
	}
}

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		return 0, io.ErrShortWrite
	}
	d.room -= len(p)
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	m := trained(t, Config{}, parse("a"))
	if n, err := m.WriteTo(&fullDisk{100}); n != headerBytes || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
}

// TestFileContradictions gives false content a true checksum.
func TestFileContradictions(t *testing.T) {
	good := file(t, trained(t, Config{Order: 3}, parse("a b")))
	good = good[:len(good)-8]
	// The body: 16 bytes of hashes, 5 unigram counts, then orders 2 and 3.
	body := good[headerBytes:]
	want := append([]byte{0, 0, 1, 1, 1}, 0, 1, 3, 1, 0, 1, 4, 1, 1, 2, 1 /* bigrams */, 1, 4, 1, 1, 2, 1, 0)
	if !bytes.Equal(body[16:], want) {
		t.Fatalf("the body is %v", body[16:])
	}
	for name, change := range map[string]func(b []byte){
		"words fall":             func(b []byte) { b[7] = 'b'; b[15] = 'a' },
		"word 0":                 func(b []byte) { clear(b[:8]) },
		"<s> is counted":         func(b []byte) { b[17] = 1 },
		"</s> is not":            func(b []byte) { b[18] = 0 },
		"<s> is predicted":       func(b []byte) { b[23] = 1 },
		"no such word":           func(b []byte) { b[23] = 5 },
		"count 0":                func(b []byte) { b[24] = 0 },
		"too many successors":    func(b []byte) { b[22] = 9 },
		"too few n-grams":        func(b []byte) { b[len(b)-1] = 0; b[len(b)-4] = 0 },
		"suffix is not there":    func(b []byte) { b[33] = 3 },
		"a number without end":   func(b []byte) { b[len(b)-1] |= 128 },
		"number without end too": func(b []byte) { b[20] |= 128; b[21] |= 128 },
	} {
		bad := slices.Clone(good)
		change(bad[headerBytes:])
		if _, err := Read(bytes.NewReader(sealed(bad))); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(h []byte){
		"order 0":                 func(h []byte) { h[12] = 0 },
		"order 6":                 func(h []byte) { h[12] = 6 },
		"n-grams above the order": func(h []byte) { h[72] = 1 },
		"more n-grams than bytes": func(h []byte) { h[63] = 255 },
		"more words than bytes":   func(h []byte) { h[55] = 255 },
		"body of 2^63 bytes":      func(h []byte) { h[23] = 128 },
		"fewer trigrams":          func(h []byte) { h[64] = 1 },
		"more trigrams":           func(h []byte) { h[64] = 3 },
	} {
		bad := slices.Clone(good)
		change(bad)
		if _, err := Read(bytes.NewReader(sealed(bad))); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	longer := append(slices.Clone(good), 0)
	longer[16]++
	if _, err := Read(bytes.NewReader(sealed(longer))); !errors.Is(err, errDamaged) {
		t.Errorf("a byte too many: %v", err)
	}
	if err := (header{words: 1 << 31}).limits(); err == nil {
		t.Error("2^31 words are no error")
	}
}

// FuzzRead checks that whatever is read writes the same file and scores within bounds.
// Data whose checksum is wrong is tried again with a right one.
func FuzzRead(f *testing.F) {
	for order := 1; order <= OrderMax; order++ {
		f.Add(file(f, trained(f, Config{Order: order}, parse("a b c . a b | c a a b b"))))
	}
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Read(bytes.NewReader(data))
		if err != nil && len(data) >= headerBytes+8 {
			data = slices.Clone(data)
			binary.LittleEndian.PutUint64(data[16:], uint64(len(data)-headerBytes-8))
			data = sealed(data[:len(data)-8])
			m, err = Read(bytes.NewReader(data))
		}
		if err != nil {
			return
		}
		if out := file(t, m); !bytes.HasPrefix(data, out) {
			t.Fatalf("read\n%q and wrote\n%q", data, out)
		}
		words := append(m.Vocabulary(), 1, Break, 2)
		words = append(words, words...)
		if logProb, _ := m.Score(words); math.IsNaN(logProb) || math.IsInf(logProb, 0) || logProb > 1e-9 {
			t.Fatalf("log probability %v", logProb)
		}
	})
}
