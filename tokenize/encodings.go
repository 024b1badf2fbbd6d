package tokenize

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pkoukk/tiktoken-go-loader/assets"
)

// encoding is what tiktoken says of an encoding beside its table of ranks
// (openai/tiktoken 0.14.0, tiktoken_ext/openai_public.py).
type encoding struct {
	name    string
	pattern Pattern
	special []Added // by id
}

func special(id int32, content string) Added { return Added{ID: id, Content: content, Special: true} }

func encodings() []encoding {
	return []encoding{
		{"r50k_base", PatternGPT2, []Added{special(50256, "<|endoftext|>")}},
		{"p50k_base", PatternGPT2, []Added{special(50256, "<|endoftext|>")}},
		{"cl100k_base", PatternCL100K, []Added{special(100257, "<|endoftext|>"), special(100258, "<|fim_prefix|>"),
			special(100259, "<|fim_middle|>"), special(100260, "<|fim_suffix|>"), special(100276, "<|endofprompt|>")}},
		{"o200k_base", PatternO200K, []Added{special(199999, "<|endoftext|>"), special(200018, "<|endofprompt|>")}},
	}
}

// Encodings lists the names that [Encoding] knows.
func Encodings() []string {
	var names []string
	for _, e := range encodings() {
		names = append(names, e.name)
	}
	return names
}

// Encoding returns an encoding of tiktoken by its name there, such as cl100k_base. The tables of ranks are part
// of the program. A whole piece that has a rank is that token, whatever the merges would make of it, as in
// tiktoken.
func Encoding(name string) (*Tokenizer, error) {
	ranks, err := EncodingRanks(name)
	if err != nil {
		return nil, err
	}
	all := encodings()
	e := all[slices.IndexFunc(all, func(e encoding) bool { return e.name == name })]
	s := spec{pattern: e.pattern, ignoreMerges: true, added: e.special}
	if err := s.readRanks(ranks); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", name, err)
	}
	return newTokenizer(s)
}

// EncodingRanks returns the table of ranks of an encoding: lines of a token's bytes in base64 and its rank.
func EncodingRanks(name string) ([]byte, error) {
	if !slices.Contains(Encodings(), name) {
		return nil, fmt.Errorf("encoding %q is not known: choose one of %s", name, strings.Join(Encodings(), ", "))
	}
	return assets.Assets.ReadFile(name + ".tiktoken")
}

// readRanks reads a table of ranks: lines of a token's bytes in base64 and its rank, which is its id.
func (s *spec) readRanks(table []byte) error {
	tokens := make([]string, 0, bytes.Count(table, []byte("\n"))+1) // by id, "" for none
	for line := range bytes.Lines(table) {
		text, number, _ := bytes.Cut(bytes.TrimRight(line, "\n"), []byte(" "))
		token, err := base64.StdEncoding.AppendDecode(nil, text)
		if err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		id, err := strconv.ParseUint(string(number), 10, 20)
		if err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		tokens = append(tokens, make([]string, max(0, int(id)+1-len(tokens)))...)
		tokens[id] = string(token)
	}
	s.vocab = make([]vocabEntry, 0, len(tokens))
	for id, token := range tokens {
		if token != "" {
			s.vocab = append(s.vocab, vocabEntry{toByteLevel(token), int32(id)})
		}
	}
	s.merges = mergesOfRanks(tokens)
	return nil
}

// mergesOfRanks finds the merges behind a table of ranks. tiktoken merges whatever two neighbours form a token, the
// lowest rank first; so what a token's own bytes are merged to by the tokens before it are its two parts,
// and in no text is it made of others. A token that comes out as more parts is never made by a merge.
func mergesOfRanks(tokens []string) []mergeEntry {
	t := &Tokenizer{pairs: newPairTable(len(tokens))}
	for id, token := range tokens {
		if len(token) == 1 {
			t.byteIDs[token[0]] = int32(id)
		}
	}
	t.pairs.fillBytes(&t.byteIDs)
	merges := make([]mergeEntry, 0, len(tokens))
	var parts []int32
	for id, token := range tokens {
		if len(token) < 2 {
			continue
		}
		if parts = t.merge(parts[:0], token); len(parts) == 2 {
			m := pairMerge{uint32(len(merges)), int32(id)}
			t.pairs.add(parts[0], parts[1], m)
			if len(token) == 2 {
				t.pairs.ofBytes[token[0]][token[1]] = m
			}
			merges = append(merges, mergeEntry{parts[0], parts[1], int32(id)})
		}
	}
	return merges
}
