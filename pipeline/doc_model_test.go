package pipeline

import (
	"io"
	"reflect"
	"testing"

	"bzdata/pipeline/store"
)

// TestDocsRoundTrip writes documents of every kind and reads the same ones back, with
// names of different lengths, since the reader's buffer is shared by all of them.
func TestDocsRoundTrip(t *testing.T) {
	docs := []*Doc{
		{Ref: Ref{0, 7}, Source: "a", Path: "sub/long-name.jsonl", Text: "hello", Slot: 1, Copies: 1, Fields: []store.Field{
			{Key: "identifier", RawKey: []byte(`"identifier"`), Value: []byte(`"x"`)},
			{Key: "t", RawKey: []byte(`"t"`), Value: []byte(`"hello"`)}}},
		{Ref: Ref{0, 9}, Source: "longer-source", Path: "p", Text: "made", Slot: -1, Copies: 3, Mark: Judge,
			Fields: []store.Field{{Key: "é", RawKey: []byte(`"\u00e9"`), Value: []byte(`1e2`)}}},
		{Ref: Ref{0, 10}, Source: "s", Path: "p", Text: "hi\nyes", Slot: 0, Copies: 1, Mark: Select,
			Messages: []Message{{"user", "hi"}, {"assistant", "yes"}},
			Fields: []store.Field{{Key: "messages", RawKey: []byte(`"messages"`),
				Value: []byte(`[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}]`)}}},
	}
	fsys, name := store.OS(), t.TempDir()+"/docs.zst"
	err := store.WriteFile(fsys, name, func(w io.Writer) error {
		out, err := newDocWriter(w)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := out.Write(d); err != nil {
				return err
			}
		}
		return out.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := openDocs(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for _, want := range docs {
		got, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if _, err := in.Next(); err != io.EOF {
		t.Errorf("after the last document: %v", err)
	}
}
