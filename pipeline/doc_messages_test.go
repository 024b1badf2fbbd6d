package pipeline

import (
	"slices"
	"testing"

	"bzdata/pipeline/store"
)

func TestPatchMessages(t *testing.T) {
	for _, c := range []struct {
		raw  string
		now  []Message
		want string
	}{
		{`[{"role":"u","content":"a"}]`, []Message{{"u", "b"}}, `[{"role":"u","content":"b"}]`},
		{`[ {"x":[1, 2] , "content":"a","role":null} , {"role":"\u0075","content":"<"} ]`, []Message{{"", "c"}, {"u", "<"}},
			`[{"x":[1, 2],"content":"c","role":null},{"role":"\u0075","content":"<"}]`},
		{`[{"tool":1.0}]`, []Message{{"r", "c"}}, `[{"tool":1.0,"role":"r","content":"c"}]`},
		{`[{}]`, []Message{{"", "c"}}, `[{"content":"c"}]`},
		{`[{"role":"u","content":"a","n":1}]`, []Message{{"u", "a"}, {"v", "b"}}, `[{"role":"u","content":"a"},{"role":"v","content":"b"}]`},
		{`null`, []Message{}, `[]`},
	} {
		got, err := patchMessages([]byte(c.raw), c.now)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.raw, got, err, c.want)
		}
	}
	for _, raw := range []string{`{}`, `[1]`, `["a"]`, `[{"role":5}]`, `[{"content":["a"]}]`, `[{"content":"a","content":"b"}]`, `[`, ``, `[null]`} {
		if ms, err := parseMessages([]byte(raw)); err == nil {
			t.Errorf("%s reads as %v", raw, ms)
		}
	}
}

// FuzzMessages edits every content of whatever reads as messages: what is written reads
// as what was meant.
func FuzzMessages(f *testing.F) {
	for _, s := range []string{`[]`, `null`, `[{"role":"user","content":"a","x":{"b":[1]}}]`, `[{},{"content":null}]`, `[{"r\u006fle":"a"}]`} {
		f.Add(s, "new")
	}
	f.Fuzz(func(t *testing.T, raw, text string) {
		ms, err := parseMessages([]byte(raw))
		if err != nil {
			return
		}
		same, err := patchMessages([]byte(raw), ms)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseMessages(same); err != nil || !slices.Equal(again, ms) {
			t.Fatalf("%s became %s: %v", raw, same, err)
		}
		// The writer makes U+FFFD of what is not UTF-8; so is what is meant.
		quoted, err := store.Unquote(nil, store.AppendQuote(nil, text))
		if err != nil {
			t.Fatal(err)
		}
		for i := range ms {
			ms[i].Content += string(quoted)
		}
		edited, err := patchMessages([]byte(raw), ms)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseMessages(edited); err != nil || !slices.Equal(again, ms) {
			t.Fatalf("%s became %s: %v", raw, edited, err)
		}
	})
}
