package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"

	"bzdata/tokenize"

	"github.com/go-json-experiment/json"
	tiktoken "github.com/pkoukk/tiktoken-go"
	loader "github.com/pkoukk/tiktoken-go-loader"
	"github.com/tiktoken-go/tokenizer"
)

// tokenRepeats is how often the texts are tokenized within the time that is compared.
const tokenRepeats = 5

const aboutTokens = `Ordinary text to ids of cl100k_base, document by document, %d times over after one pass that warms caches and gives the
sum by which contenders are compared; reading the file and the vocabulary are not in the times. tiktoken and tiktoken-go get the table
of ranks, the others a tokenizer.json that bzdata writes of it, or what they bring along. tokenizers 1.0 is a release
candidate: the pipeline tokenizer.`

// measureTokens compares tokenizers on text, each on one core.
func measureTokens(ctx context.Context, b *bench) (*section, error) {
	text, what, err := b.textToTokenize(ctx)
	if err != nil {
		return nil, err
	}
	vocabulary := filepath.Join(b.work, "cl100k.json")
	ranks := filepath.Join(b.work, "cl100k.tiktoken")
	if err := writeVocabulary(vocabulary, ranks); err != nil {
		return nil, err
	}
	repeats := strconv.Itoa(tokenRepeats)
	ours := b.worker("bzdata", "tokens-bzdata", text, repeats)
	wide := b.worker("bzdata", "tokens-bzdata", text, repeats)
	wide.cores = runtime.NumCPU()
	peers := []*contender{
		b.python(ctx, "tiktoken", "tokens", "tokens.py", "tiktoken", ranks, text, repeats),
		b.python(ctx, "tokenizers", "tokens", "tokens.py", "tokenizers", vocabulary, text, repeats),
		b.python(ctx, "tokenizers, candidate", "tokens-candidate", "tokens.py", "tokenizers", vocabulary, text, repeats),
		b.rust(ctx, "tokenizers, candidate, in Rust", "tokens-pipeline", vocabulary, text, repeats),
		b.rust(ctx, "bpe-openai", "tokens-bpe", text, repeats),
		b.worker("pkoukk/tiktoken-go", "tokens-pkoukk", text, repeats),
		b.worker("tiktoken-go/tokenizer", "tokens-tiktokengo", text, repeats),
	}
	cs := append([]*contender{ours, wide}, peers...)
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return nil, err
	}
	s := &section{title: "Tokenizing", about: []string{oneLine(fmt.Sprintf(aboutTokens, tokenRepeats)), "Text: " + what + "."},
		groups: []group{{"cl100k_base (speeds are not stated; the time of the passes is):", 0, cs}},
		notes:  append(tokenSpeeds(cs), agreementOfIDs(cs))}
	bars := map[string]float64{"tiktoken": 1.5, "bpe-openai": 1, "tokenizers, candidate, in Rust": 1, "pkoukk/tiktoken-go": 8}
	for _, peer := range peers {
		s.found = append(s.found, comparison{what: "processor time of the passes, " + peer.name, over: peer, under: ours,
			value: phaseOf("passes"), bar: bars[peer.name]})
	}
	s.found = append(s.found, comparison{what: "wall time of the passes, one core over all", over: ours, under: wide,
		value: passesOf, bar: 1.7})
	return s, nil
}

// textToTokenize is the file of -text, or the sample's pages.
func (b *bench) textToTokenize(ctx context.Context) (path, what string, err error) {
	if b.text != "" {
		info, err := os.Stat(b.text)
		if err != nil {
			return "", "", err
		}
		return b.text, fmt.Sprintf("%s, %s bytes of JSONL", filepath.Base(b.text), count(info.Size())), nil
	}
	c, err := b.corpusOf(ctx, b.small)
	if err != nil {
		return "", "", err
	}
	return c.pages.path, "pages of " + c.pages.String(), nil
}

// writeVocabulary writes cl100k_base as a tokenizer.json and as a table of ranks.
func writeVocabulary(vocabulary, ranks string) error {
	t, err := tokenize.Encoding("cl100k_base")
	if err != nil {
		return err
	}
	f, err := os.Create(vocabulary)
	if err != nil {
		return err
	}
	table, err := tokenize.EncodingRanks("cl100k_base")
	return errors.Join(err, t.WriteJSON(f), f.Close(), os.WriteFile(ranks, table, 0o666))
}

// tokenSpeeds says how fast each contender was.
func tokenSpeeds(cs []*contender) []string {
	var out []string
	for _, c := range cs {
		if len(c.runs) == 0 {
			continue
		}
		passes := spreadOf(c.of(phaseOf("passes"))).median
		bytes := float64(c.runs[0].said.Bytes) * tokenRepeats
		out = append(out, fmt.Sprintf("%s, %d cores: %.1f MB of text for a processor second of the passes.", c.name, c.cores, bytes/passes/1e6))
	}
	return out
}

// agreementOfIDs says whether all contenders gave the same ids.
func agreementOfIDs(cs []*contender) string {
	var first *contender
	for _, c := range cs {
		switch {
		case len(c.runs) == 0:
		case first == nil:
			first = c
		case c.runs[0].said.Kept != first.runs[0].said.Kept || c.runs[0].said.Sum != first.runs[0].said.Sum:
			return fmt.Sprintf("**ids differ**: %s gave %s ids, sum %s, and %s %s, %s", c.name, count(c.runs[0].said.Kept),
				c.runs[0].said.Sum, first.name, count(first.runs[0].said.Kept), first.runs[0].said.Sum)
		}
	}
	if first == nil {
		return "nothing ran"
	}
	return fmt.Sprintf("All gave the same %s ids.", count(first.runs[0].said.Kept))
}

// documentsOf reads the texts of a JSONL file.
func documentsOf(path string) (texts []string, bytes int64, err error) {
	err = eachLine(path, func(line []byte) error {
		var doc struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(line, &doc); err != nil {
			return err
		}
		texts, bytes = append(texts, doc.Text), bytes+int64(len(doc.Text))
		return nil
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return texts, bytes, err
}

// tokenizeAll passes over the texts of args[0] once, and args[1] times while the time is taken. encode must
// be safe for concurrent use, if there are several workers.
func tokenizeAll(args []string, s *said, workers int, encode func(dst []int32, text string) []int32) error {
	texts, bytes, err := documentsOf(args[0])
	if err != nil {
		return err
	}
	repeats, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var sum uint64
	for _, text := range texts {
		for i, id := range encode(nil, text) {
			sum += uint64(i+1) * uint64(id)
			s.Kept++
		}
	}
	s.Rows, s.Bytes, s.Sum = int64(len(texts)), bytes, fmt.Sprint(sum)
	return s.phase("passes", func() error {
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				var ids []int32
				for range repeats {
					for i := w; i < len(texts); i += workers {
						ids = encode(ids[:0], texts[i])
					}
				}
			})
		}
		group.Wait()
		return nil
	})
}

func tokensBzdata(args []string, s *said) error {
	t, err := tokenize.Encoding("cl100k_base")
	if err != nil {
		return err
	}
	return tokenizeAll(args, s, runtime.GOMAXPROCS(0), t.Encode)
}

func tokensPkoukk(args []string, s *said) error {
	s.Version = moduleVersions("github.com/pkoukk/tiktoken-go")
	tiktoken.SetBpeLoader(loader.NewOfflineLoader())
	t, err := tiktoken.GetEncoding("cl100k_base")
	if err != nil {
		return err
	}
	return tokenizeAll(args, s, 1, func(dst []int32, text string) []int32 { return narrow(dst, t.EncodeOrdinary(text)) })
}

func tokensTiktokenGo(args []string, s *said) error {
	s.Version = moduleVersions("github.com/tiktoken-go/tokenizer")
	t, err := tokenizer.Get(tokenizer.Cl100kBase)
	if err != nil {
		return err
	}
	var failed error
	err = tokenizeAll(args, s, 1, func(dst []int32, text string) []int32 {
		ids, _, err := t.Encode(text)
		failed = errors.Join(failed, err)
		return narrow(dst, ids)
	})
	return errors.Join(err, failed)
}

func narrow[T int | uint](dst []int32, ids []T) []int32 {
	for _, id := range ids {
		dst = append(dst, int32(id))
	}
	return dst
}
