package tokenize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"bzdata/pipeline/store"
	"github.com/zeebo/xxh3"
)

var testHash = strings.Repeat("0123456789abcdef", 4)

func testMeta(vocab int) ShardMeta {
	return ShardMeta{
		SequenceLength: 9, VocabSize: vocab, Tokenizer: testHash, Packing: PackEOSConcat,
		DataKey: "key-1", BOS: -1, EOS: 7, Pad: 0, Sources: []string{"gsm8k", "wiki ü", ""},
	}
}

// randomShard returns a shard packed from random documents, and its sequences.
func randomShard(t testing.TB, m ShardMeta, packing Packing, seed uint64) ([]byte, []Sequence) {
	t.Helper()
	w, err := NewShardWriter(m)
	if err != nil {
		t.Fatal(err)
	}
	var kept []Sequence
	o := PackOptions{Packing: packing, SequenceLength: m.SequenceLength, EOS: m.EOS, Pad: m.Pad}
	p, err := NewPacker(o, func(s *Sequence) error {
		kept = append(kept, Sequence{
			Tokens: append([]int32{}, s.Tokens...), Target: append([]bool{}, s.Target...),
			Segments: append([]Segment{}, s.Segments...),
		})
		return w.Add(s)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 9))
	for d := range 20 {
		doc := Document{DocumentInfo: DocumentInfo{
			Ordinal: uint64(d) * 1e12, Source: uint32(r.IntN(3)), TextBytes: r.Uint64(), ID: strings.Repeat("i", d%3),
		}}
		for range r.IntN(25) {
			doc.Tokens = append(doc.Tokens, r.Int32N(int32(m.VocabSize)))
			doc.Masked = append(doc.Masked, r.IntN(5) == 0)
		}
		doc.DocumentInfo.Tokens = uint32(len(doc.Tokens))
		if err := p.Add(doc); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n, err := w.WriteTo(&out)
	if err != nil || n != int64(out.Len()) || n != w.Size() {
		t.Fatalf("wrote %d of %d bytes, announced %d: %v", n, out.Len(), w.Size(), err)
	}
	return out.Bytes(), kept
}

func open(t testing.TB, data []byte) *Shard {
	t.Helper()
	s, err := OpenShard(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShardRoundTrip(t *testing.T) {
	for seed, m := range []ShardMeta{testMeta(300), testMeta(1 << 16), testMeta(1<<16 + 1), testMeta(151936)} {
		for _, packing := range []Packing{PackTruncatePad, PackEOSConcat} {
			data, want := randomShard(t, m, packing, uint64(seed))
			s := open(t, data)
			if err := s.Verify(); err != nil {
				t.Fatal(err)
			}
			m.TokenBytes = 2
			if m.VocabSize > 1<<16 {
				m.TokenBytes = 4
			}
			if got := s.Meta(); !reflect.DeepEqual(got, m) {
				t.Errorf("meta %+v, want %+v", got, m)
			}
			if s.Sequences() != len(want) {
				t.Fatalf("%d sequences, want %d", s.Sequences(), len(want))
			}
			var got Sequence
			tokens, targets := int64(0), int64(0)
			for i := range want {
				if err := s.Sequence(i, &got); err != nil {
					t.Fatal(err)
				}
				got.raw = nil
				if !reflect.DeepEqual(got, want[i]) {
					t.Fatalf("sequence %d is %s, want %s", i, show(&got), show(&want[i]))
				}
				for _, g := range want[i].Segments {
					tokens += int64(g.End - g.Start)
				}
				targets += int64(countTrue(want[i].Target))
			}
			if s.Tokens() != tokens || s.Targets() != targets || s.Documents() == 0 {
				t.Errorf("%d tokens, %d targets, want %d, %d", s.Tokens(), s.Targets(), tokens, targets)
			}
		}
	}
}

// TestShardBytes holds the format: a shard of one sequence, byte by byte.
func TestShardBytes(t *testing.T) {
	w, err := NewShardWriter(ShardMeta{
		SequenceLength: 3, VocabSize: 300, Tokenizer: testHash, Packing: PackTruncatePad, DataKey: "k",
		BOS: -1, EOS: 2, Pad: 1, Sources: []string{"s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	doc := DocumentInfo{Ordinal: 5, Source: 0, Tokens: 2, TextBytes: 6, ID: "id"}
	seq := &Sequence{Tokens: []int32{258, 7, 1}, Target: []bool{false, true, false}, Segments: []Segment{{doc, 0, 2, 0}}}
	if err := w.Add(seq); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	le := func(width int, values ...int64) (b []byte) {
		for _, v := range values {
			b = append(b, binary.LittleEndian.AppendUint64(nil, uint64(v))[:width]...)
		}
		return b
	}
	body := make([]byte, 7*64)
	copy(body[0:], "\x0c\x00\x00\x00truncate-pad\x01\x00\x00\x00k\x01\x00\x00\x00s")
	copy(body[64:], le(2, 258, 7, 1))
	copy(body[128:], []byte{0b010})
	copy(body[192:], le(8, 0, 1))
	copy(body[256:], le(4, 0, 0, 2, 0))
	copy(body[320:], append(le(8, 5, 6), le(4, 2, 0, 0, 2)...))
	body = append(body[:384], "id"...)
	head := append([]byte("BZTOKENS"), le(4, 1, 2, 1, 300, 3, 1, -1, 2, 1, 0)...)
	head = append(head, le(8, 1, 1, 1, 2, 1, 16+5+5, 2)...)
	for range 4 {
		head = append(head, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef)
	}
	sum := xxh3.Hash128(body).Bytes()
	head = append(append(head, sum[:]...), make([]byte, 32)...)
	head = append(head, le(8, int64(xxh3.Hash(head)))...)
	if want := append(head, body...); !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got\n%x\nwant\n%x", out.Bytes(), want)
	}
}

// TestShardDamage changes each byte of a shard, and cuts it at each length: it must be noticed.
func TestShardDamage(t *testing.T) {
	data, _ := randomShard(t, testMeta(300), PackEOSConcat, 1)
	noticed := func(bad []byte) bool {
		s, err := OpenShard(bytes.NewReader(bad), int64(len(bad)))
		return err != nil || s.Verify() != nil
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if !noticed(bad) {
			t.Fatalf("a change of byte %d went unnoticed", i)
		}
		if !noticed(data[:i]) {
			t.Fatalf("a cut at %d went unnoticed", i)
		}
	}
	if !noticed(append(bytes.Clone(data), 0)) {
		t.Error("a byte too many went unnoticed")
	}
}

func TestShardMetaErrors(t *testing.T) {
	for want, change := range map[string]func(*ShardMeta){
		"a vocabulary of 65537 does not fit tokens of 2 bytes": func(m *ShardMeta) { m.VocabSize, m.TokenBytes = 65537, 2 },
		"token width is 3 bytes":                               func(m *ShardMeta) { m.TokenBytes = 3 },
		"vocabulary size is 0":                                 func(m *ShardMeta) { m.VocabSize = 0 },
		"sequence length is 1":                                 func(m *ShardMeta) { m.SequenceLength = 1 },
		`tokenizer hash "abc" is not 64`:                       func(m *ShardMeta) { m.Tokenizer = "abc" },
		"token id 300 is outside":                              func(m *ShardMeta) { m.EOS = 300 },
		"token id -2 is outside":                               func(m *ShardMeta) { m.Pad = -2 },
	} {
		m := testMeta(300)
		change(&m)
		if _, err := NewShardWriter(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestShardRefusesSequences(t *testing.T) {
	m := testMeta(300)
	m.SequenceLength = 3
	doc := DocumentInfo{Ordinal: 1, Tokens: 3}
	for want, change := range map[string]func(*Sequence){
		"has 2 tokens":                     func(s *Sequence) { s.Tokens = s.Tokens[:2] },
		"token 1 is 300, outside":          func(s *Sequence) { s.Tokens[1] = 300 },
		"token 2 is -1, outside":           func(s *Sequence) { s.Tokens[2] = -1 },
		"segment 0 is 0:4":                 func(s *Sequence) { s.Segments[0].End = 4 },
		"segment 0 is 2:2":                 func(s *Sequence) { s.Segments[0].Start = 2 },
		"segment 1 is 1:3":                 func(s *Sequence) { s.Segments = append(s.Segments, Segment{doc, 1, 3, 0}) },
		"source 3 of 3":                    func(s *Sequence) { s.Segments[0].Document.Source = 3 },
		"token 2 is a target, but belongs": func(s *Sequence) { s.Target[2] = true },
		"the first token is a target":      func(s *Sequence) { s.Target[0] = true },
		"segment 1: document 8 differs": func(s *Sequence) {
			s.Segments = []Segment{{DocumentInfo{Ordinal: 8}, 0, 1, 0}, {DocumentInfo{Ordinal: 8, ID: "x"}, 1, 2, 1}}
		},
		"document 1 differs from what was sai": func(s *Sequence) { s.Segments[0].Document.Tokens = 4 },
	} {
		w, err := NewShardWriter(m)
		if err != nil {
			t.Fatal(err)
		}
		good := func() *Sequence {
			return &Sequence{Tokens: []int32{1, 2, 0}, Target: []bool{false, true, false}, Segments: []Segment{{doc, 0, 2, 0}}}
		}
		if err := w.Add(good()); err != nil {
			t.Fatal(err)
		}
		size := w.Size()
		bad := good()
		change(bad)
		if err := w.Add(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if w.Size() != size || w.Sequences() != 1 {
			t.Errorf("%s: a refused sequence left something behind", want)
		}
	}
}

// TestShardReset writes the same bytes again after other content.
func TestShardReset(t *testing.T) {
	data, seqs := randomShard(t, testMeta(300), PackTruncatePad, 2)
	w, err := NewShardWriter(testMeta(300))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		w.Reset()
		for i := range seqs {
			if err := w.Add(&seqs[i]); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		if _, err := w.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("round %d: other bytes (%v)", round, err)
		}
	}
	w.Reset()
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if s := open(t, out.Bytes()); s.Verify() != nil || s.Sequences() != 0 || s.Documents() != 0 {
		t.Error("an empty shard does not verify")
	}
}

// TestShardWithoutTargets leaves the bit map out when every token but the first is a target.
func TestShardWithoutTargets(t *testing.T) {
	w, err := NewShardWriter(testMeta(300))
	if err != nil {
		t.Fatal(err)
	}
	o := PackOptions{Packing: PackEOSConcat, SequenceLength: 9, EOS: 7}
	p, err := NewPacker(o, w.Add)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(documents(26)[0]); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	s := open(t, out.Bytes())
	var seq Sequence
	if err := s.Sequence(2, &seq); err != nil || countTrue(seq.Target) != 8 || seq.Target[0] {
		t.Errorf("%v, targets %v", err, seq.Target)
	}
	if err := s.Verify(); err != nil || s.header.flags != 0 || s.Targets() != 24 {
		t.Errorf("%v, flags %d, %d targets", err, s.header.flags, s.Targets())
	}
}

func TestShardFile(t *testing.T) {
	data, want := randomShard(t, testMeta(300), PackEOSConcat, 3)
	name := filepath.Join(t.TempDir(), "train-00000.tokens")
	err := store.WriteFile(store.OS(), name, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenShardFile(store.OS(), name)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var seq Sequence
			for i := range want {
				if err := s.Sequence(i, &seq); err != nil || show(&seq) != show(&want[i]) {
					t.Errorf("sequence %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := store.WriteBytes(store.OS(), name, data[:100]); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenShardFile(store.OS(), name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("a damaged file gave %v", err)
	}
}

// FuzzShard opens arbitrary bytes, with and without true hashes, and reads all.
func FuzzShard(f *testing.F) {
	for _, vocab := range []int{300, 1 << 17} {
		data, _ := randomShard(f, testMeta(vocab), PackTruncatePad, 4)
		f.Add(data, true)
		f.Add(data[:headerBytes], false)
	}
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if mend && len(data) >= headerBytes {
			data = bytes.Clone(data)
			sum := xxh3.Hash128(data[headerBytes:]).Bytes()
			copy(data[136:], sum[:])
			binary.LittleEndian.PutUint64(data[headerBytes-8:], xxh3.Hash(data[:headerBytes-8]))
		}
		s, err := OpenShard(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		verified := s.Verify() == nil
		var seq Sequence
		for i := range s.Sequences() {
			if err := s.Sequence(i, &seq); err != nil && verified {
				t.Fatalf("verified, but %v", err)
			}
		}
		for i := range s.Documents() {
			if d := s.Document(i); int(d.Source) >= len(s.Meta().Sources) {
				t.Fatal(fmt.Sprint("source out of range: ", d))
			}
		}
	})
}
