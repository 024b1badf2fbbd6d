package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

func rawField(key, value string) store.Field {
	return store.Field{Key: key, RawKey: store.AppendQuote(nil, key), Value: []byte(value)}
}

// sampleDocs are documents of every kind: with text in a field, with and without escapes,
// made of a template, edited, of messages; from several sources; with other names or the
// same; marked and repeated.
func sampleDocs(rng *rand.Rand, n int) []*Doc {
	var docs []*Doc
	record := uint64(0)
	for range n {
		record += 1 + rng.Uint64N(3)
		d := &Doc{Ref: Ref{Record: record}, Source: fmt.Sprint("source-", rng.IntN(20)/19), Path: fmt.Sprint("p", rng.IntN(20)/18),
			Copies: 1 + rng.IntN(20)/18, Slot: -1, Mark: Mark(rng.IntN(3))}
		d.Text = strings.Repeat([]string{"plain ", "quo\"te ", "new\nline ", "é"}[rng.IntN(4)], rng.IntN(200))
		switch rng.IntN(4) {
		case 0:
			d.Fields = []store.Field{rawField("id", "1e400"), {Key: "made", Value: []byte("null")}}
		case 1:
			d.Slot, d.Fields = 1, []store.Field{rawField("id", `"x"`), rawField("text", string(store.AppendQuote(nil, d.Text)))}
		case 2: // an escape that the text does not need
			d.Slot, d.Fields = 0, []store.Field{rawField("text", strings.ReplaceAll(string(store.AppendQuote(nil, d.Text)), "p", "\\u0070"))}
		case 3:
			d.Slot, d.Messages = 0, []Message{{"user", d.Text}, {"assistant", "yes"}}
			d.Text = textOfMessages(d.Messages)
			raw := fmt.Appendf(nil, `[{"role":"user","content":%s},{"role":"assistant","content":"yes"}]`,
				store.AppendQuote(nil, d.Messages[0].Content))
			d.Fields = []store.Field{rawField("messages", string(raw))}
		}
		docs = append(docs, d)
	}
	return docs
}

func storeDocs(t testing.TB, docs []*Doc, plain bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newDocWriter(&b, plain)
	for _, d := range docs {
		if err := w.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openStored(t testing.TB, data []byte) *docReader {
	t.Helper()
	fsys := store.NewCrashFS()
	if err := store.WriteBytes(fsys, "/docs", data); err != nil {
		t.Fatal(err)
	}
	r, err := openDocs(fsys, "/docs")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func loadDocs(t testing.TB, data []byte) (docs []*Doc, err error) {
	t.Helper()
	r := openStored(t, data)
	defer r.Close()
	for {
		d, err := r.Next()
		if err == io.EOF {
			return docs, nil
		}
		if err == nil {
			err = d.fill()
		}
		if err != nil {
			return docs, err
		}
		docs = append(docs, d)
	}
}

// TestStoredDocs writes documents over several blocks and reads the same ones back. All of
// them are held until the end: what one gives must not be overwritten by the next.
func TestStoredDocs(t *testing.T) {
	for seed := range uint64(5) {
		docs, plain := sampleDocs(rand.New(rand.NewPCG(seed, 1)), 2000), seed%2 == 0
		data := storeDocs(t, docs, plain)
		got, err := loadDocs(t, data)
		if err != nil || len(got) != len(docs) {
			t.Fatalf("seed %d: %d of %d documents, %v", seed, len(got), len(docs), err)
		}
		for i := range docs {
			if !reflect.DeepEqual(got[i], docs[i]) {
				t.Fatalf("seed %d, document %d: got\n%+v\nwant\n%+v", seed, i, got[i], docs[i])
			}
		}
		again := storeDocs(t, got, plain)
		if !bytes.Equal(data, again) {
			t.Errorf("seed %d: what was read is written in other bytes", seed)
		}
	}
}

// TestSkimmedDocs fills some documents and passes over the others, of which no more is known than
// what stands in their heads; those that were filled are held until the end.
func TestSkimmedDocs(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		docs := sampleDocs(rng, 2000)
		r := openStored(t, storeDocs(t, docs, seed%2 == 0))
		got := make([]*Doc, len(docs))
		for i, want := range docs {
			d, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if d.Text != "" || d.Fields != nil || d.Messages != nil || d.TextBytes() != len(want.Text) ||
				d.Ref != want.Ref || d.Name() != want.Name() || d.Copies != want.Copies || d.Mark != want.Mark {
				t.Fatalf("document %d: %+v is no head of %+v", i, d, want)
			}
			if i/500%2 == 0 && rng.IntN(3) == 0 { // others of their block, and none of some blocks
				if got[i] = d; d.fill() != nil || d.TextBytes() != len(want.Text) {
					t.Fatalf("document %d was not filled", i)
				}
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
		for i, d := range got {
			if d != nil && !reflect.DeepEqual(d, docs[i]) {
				t.Fatalf("document %d: got\n%+v\nwant\n%+v", i, d, docs[i])
			}
		}
	}
}

// TestSkippedBlocksAreNotRead damages the text of a document: who does not want it need not know.
func TestSkippedBlocksAreNotRead(t *testing.T) {
	docs := []*Doc{{Source: "s", Path: "p", Text: "a text that is damaged", Copies: 1, Slot: -1, Fields: []store.Field{}}}
	data := storeDocs(t, docs, true)
	data[bytes.Index(data, []byte("damaged"))]++
	r := openStored(t, data)
	d, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("skipped: %v", err)
	}
	if err := d.fill(); err == nil {
		t.Error("filled from a damaged block")
	}
}

// TestStoredDocsAreEdited grows and replaces the fields of a document, which must not show in
// its neighbours.
func TestStoredDocsAreEdited(t *testing.T) {
	docs := sampleDocs(rand.New(rand.NewPCG(3, 3)), 300)
	got, err := loadDocs(t, storeDocs(t, docs, false))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(got); i += 2 {
		got[i].Fields = append(got[i].Fields, rawField("more", "1"))
		got[i].Fields[0] = rawField("other", "2")
	}
	for i := 1; i < len(got); i += 2 {
		if !reflect.DeepEqual(got[i], docs[i]) {
			t.Fatalf("document %d changed with its neighbours: %+v", i, got[i])
		}
	}
}

// TestDamagedDocs cuts a file at every block and within.
func TestDamagedDocs(t *testing.T) {
	for _, plain := range []bool{false, true} {
		data := storeDocs(t, sampleDocs(rand.New(rand.NewPCG(4, 4)), 40), plain)
		for n := 1; n < len(data); n += 7 {
			if _, err := loadDocs(t, data[:n]); err == nil {
				t.Errorf("cut after %d of %d bytes: no error", n, len(data))
			}
		}
	}
}

// FuzzStoredDocs reads blocks whose checksums are right and whose content is anything: an
// error or documents, and these are written and read back the same. Passing over them takes the
// same heads for granted.
func FuzzStoredDocs(f *testing.F) {
	data := storeDocs(f, sampleDocs(rand.New(rand.NewPCG(5, 5)), 6), false)
	blocks := store.NewBlockReader(bytes.NewReader(data), int64(len(data)))
	var pair [2][]byte
	for i := range pair {
		block, err := blocks.Next()
		if err == nil {
			pair[i], err = blocks.Read(block)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(pair[0], pair[1], true)
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, []byte{}, false)
	f.Add([]byte{1, 16, 0, 0, 1, 1, 1, 5, 0, 0, 1, 1, 't', 0}, []byte("\x04\"\\n\""), true)
	f.Fuzz(func(t *testing.T, heads, body []byte, plain bool) {
		var b bytes.Buffer
		w := store.NewBlockWriter(&b, plain)
		if err := errors.Join(w.Write(heads), w.Write(body)); err != nil {
			t.Fatal(err)
		}
		docs, err := loadDocs(t, b.Bytes())
		if err != nil {
			return
		}
		skimmed := 0
		for r := openStored(t, b.Bytes()); ; skimmed++ {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		again, err := loadDocs(t, storeDocs(t, docs, !plain))
		if err != nil || skimmed != len(docs) || !slices.EqualFunc(docs, again, func(a, b *Doc) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("%d documents come back as %d others, %v", len(docs), len(again), err)
		}
		for _, d := range docs {
			_, _ = d.ExportFields(), d.Mark.String()
			if d.Messages == nil {
				d.SetText("x")
			}
		}
	})
}

func BenchmarkStoredDocs(b *testing.B) {
	docs := sampleDocs(rand.New(rand.NewPCG(6, 6)), 2000)
	data := storeDocs(b, docs, false)
	bytesIn := int64(0)
	for _, d := range docs {
		bytesIn += int64(len(d.Text))
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(bytesIn)
		for b.Loop() {
			storeDocs(b, docs, false)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(bytesIn)
		for b.Loop() {
			if _, err := loadDocs(b, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
