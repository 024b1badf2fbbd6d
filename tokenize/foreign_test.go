package tokenize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

func documentsOf(docs []Document) Documents {
	return func(visit func(d *Document) error) error {
		for i := range docs {
			if err := visit(&docs[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// foreignDocs are three documents, of which the second is empty and the third is masked, begins
// at its second token and ends with EOS 8.
func foreignDocs() []Document {
	docs := documents(3, 0, 4)
	docs[2].Start, docs[2].Masked = 1, []bool{true, true, false, false}
	docs[2].Tokens[3] = 8
	return docs
}

func TestDatatrove(t *testing.T) {
	for _, c := range []struct {
		vocab, width int
	}{{65535, 2}, {65536, 4}} {
		f := Datatrove{ForeignOptions{VocabSize: c.vocab, EOS: 8}, "mine"}
		var tokens, loss, index, meta bytes.Buffer
		lengths, err := f.WriteTokens(&tokens, documentsOf(foreignDocs()))
		if err != nil || !slices.Equal(lengths, []int64{4, 3}) {
			t.Fatal(lengths, err)
		}
		for _, err := range []error{f.WriteLoss(&loss, documentsOf(foreignDocs())), f.WriteIndex(&index, lengths), f.WriteMetadata(&meta, lengths)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		var want []byte
		for _, id := range []uint32{1, 2, 3, 8, 22, 23, 8} {
			want = append(want, binary.LittleEndian.AppendUint32(nil, id)[:c.width]...)
		}
		if !bytes.Equal(tokens.Bytes(), want) || fmt.Sprint(loss.Bytes()) != "[1 1 1 1 0 1 1]" {
			t.Errorf("tokens %v, loss %v", tokens.Bytes(), loss.Bytes())
		}
		if want := []byte{4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0}; !bytes.Equal(index.Bytes(), want) {
			t.Errorf("index %v", index.Bytes())
		}
		if want := fmt.Sprintf("mine|%d\n7\n7.00 T", c.width); meta.String() != want {
			t.Errorf("metadata %q, want %q", meta.String(), want)
		}
	}
	for n, want := range map[int64]string{0: "0.00 T", 12: "12.0 T", 999: "999 T", 1234: "1.23 kT", 12_345_678: "12.3 MT", 5e12: "5.00 TT"} {
		if got := metric(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestMegatron(t *testing.T) {
	f := Megatron{ForeignOptions{VocabSize: 65499, EOS: 8}}
	var tokens, index bytes.Buffer
	lengths, err := f.WriteTokens(&tokens, documentsOf(foreignDocs()))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WriteIndex(&index, lengths); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	want := append([]byte("MMIDIDX\x00\x00"), 1, 0, 0, 0, 0, 0, 0, 0, 8)
	for _, v := range []uint64{2, 3} {
		want = le.AppendUint64(want, v)
	}
	want = le.AppendUint32(le.AppendUint32(want, 4), 3)
	for _, v := range []uint64{0, 8, 0, 1, 2} {
		want = le.AppendUint64(want, v)
	}
	if !bytes.Equal(index.Bytes(), want) || tokens.Len() != 14 {
		t.Errorf("index %v\nwant  %v", index.Bytes(), want)
	}
}

func TestForeignWidths(t *testing.T) {
	for _, c := range []struct {
		bytes, vocab        int
		datatrove, megatron string
	}{
		{0, 65499, "2", "2"},
		{0, 65500, "2", "4"},
		{0, 65536, "4", "4"},
		{4, 100, "4", "4"},
		{2, 100, "2", "2"},
		{2, 65536, "does not fit", "does not fit"},
		{3, 100, "want 2 or 4", "want 2 or 4"},
	} {
		o := ForeignOptions{TokenBytes: c.bytes, VocabSize: c.vocab}
		for want, width := range map[string]func() (int, error){"datatrove " + c.datatrove: Datatrove{ForeignOptions: o}.Width, "megatron " + c.megatron: Megatron{o}.Width} {
			n, err := width()
			got := fmt.Sprint(n)
			if err != nil {
				got = err.Error()
			}
			if _, want, _ := bytes.Cut([]byte(want), []byte(" ")); !bytes.Contains([]byte(got), want) {
				t.Errorf("%+v: %s, want %s", o, got, want)
			}
		}
	}
}
