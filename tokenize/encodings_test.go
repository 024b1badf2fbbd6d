package tokenize

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// The ids are those of openai/tiktoken 0.14.0, encode_ordinary.
func TestEncodingsAreTiktokens(t *testing.T) {
	raw, err := os.ReadFile("testdata/tiktoken.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Texts []string
		IDs   map[string][][]int32
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for _, name := range Encodings() {
		tok, err := Encoding(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range want.Texts {
			ids := tok.Encode(nil, text)
			if !slices.Equal(ids, want.IDs[name][i]) {
				t.Errorf("%s of %.40q: %d, want %d", name, text, ids, want.IDs[name][i])
			}
			if back := string(tok.Decode(ids)); back != text {
				t.Errorf("%s of %.40q: came back as %.40q", name, text, back)
			}
		}
	}
}

func TestEncodingNamesAndSpecials(t *testing.T) {
	if _, err := Encoding("gpt5"); err == nil || !strings.Contains(err.Error(), "cl100k_base") {
		t.Errorf("an unknown encoding gives %v, want the known ones", err)
	}
	tok, err := Encoding("cl100k_base")
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.EncodeSpecial(nil, "a<|endoftext|>"); !slices.Equal(got, []int32{64, 100257}) {
		t.Errorf("ids %d, want [64 100257]", got)
	}
	if eos, ok := tok.EOS(); !ok || eos != 100257 || tok.VocabSize() != 100277 {
		t.Errorf("EOS %d, %t, and %d ids; want 100257 and 100277", eos, ok, tok.VocabSize())
	}
}

func TestReadRanksRefuses(t *testing.T) {
	for _, table := range []string{"!!! 0\n", "YQ==\n", "YQ== x\n", "YQ== 9999999999\n"} {
		if err := new(spec).readRanks([]byte(table)); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%q gives %v, want an error that shows the line", table, err)
		}
	}
}
