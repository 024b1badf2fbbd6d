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
	"sync/atomic"

	"bzdata/tokenize"

	"github.com/go-json-experiment/json"
	tiktoken "github.com/pkoukk/tiktoken-go"
	loader "github.com/pkoukk/tiktoken-go-loader"
	"github.com/tiktoken-go/tokenizer"
)

// Texts are tokenized several times within the time that is compared: so often that it is about this many bytes, for
// contenders that do that within a second or two on every core they have, and for others.
const (
	tokenBytesQuick = 640 << 20
	tokenBytesSlow  = 32 << 20
)

const aboutTokens = `Ordinary text to ids of cl100k_base, document by document, after one pass that warms caches and
gives the sum by which contenders are compared: bzdata and the candidate in Rust pass over the texts %d times while the
time is taken, the others, which are slower, %d times. Times are compared by the pass. Of several cores each takes the
next document that none has taken. Reading the file and the vocabulary are not in the times. tiktoken and tiktoken-go
get the table of ranks, the others a tokenizer.json that bzdata writes of it, or what they bring along. tokenizers 1.0
is a release candidate: the pipeline tokenizer.`

// measureTokens compares tokenizers on text, each on one core.
func measureTokens(ctx context.Context, b *bench) (*section, error) {
	text, what, err := b.textToTokenize(ctx)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(text)
	if err != nil {
		return nil, err
	}
	p := tokenPasses{repeatsOf(tokenBytesQuick, info.Size()), repeatsOf(tokenBytesSlow, info.Size()), map[*contender]int{}}
	ours, wide, peers, err := b.tokenContenders(ctx, text, p)
	if err != nil {
		return nil, err
	}
	cs := append([]*contender{ours, wide}, peers...)
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return nil, err
	}
	s := &section{title: "Tokenizing", about: []string{oneLine(fmt.Sprintf(aboutTokens, p.quick, p.slow)), "Text: " + what + "."},
		groups: []group{{"cl100k_base (speeds are not stated; the time of a pass is):", 0, cs}},
		notes:  append(p.speeds(cs), agreementOfIDs(cs))}
	bars := map[string]float64{"tiktoken": 1.5, "bpe-openai": 1, "tokenizers, candidate, in Rust": 1, "pkoukk/tiktoken-go": 8}
	for _, peer := range peers {
		s.found = append(s.found, comparison{what: "processor time of a pass, " + peer.name, over: peer, under: ours,
			value: p.time(ours), overValue: p.time(peer), bar: bars[peer.name]})
	}
	s.found = append(s.found, comparison{what: "wall time of the passes, one core over all", over: ours, under: wide,
		value: passesOf, bar: 1.7})
	return s, nil
}

// tokenContenders returns bzdata on one core and on all, and the others.
func (b *bench) tokenContenders(ctx context.Context, text string, p tokenPasses) (one, all *contender, peers []*contender, err error) {
	vocabulary, ranks := filepath.Join(b.work, "cl100k.json"), filepath.Join(b.work, "cl100k.tiktoken")
	if err := writeVocabulary(vocabulary, ranks); err != nil {
		return nil, nil, nil, err
	}
	quick, slow := strconv.Itoa(p.quick), strconv.Itoa(p.slow)
	one, all = b.worker("bzdata", "tokens-bzdata", text, quick), b.worker("bzdata", "tokens-bzdata", text, quick)
	all.cores = runtime.NumCPU()
	rust := b.rust(ctx, "tokenizers, candidate, in Rust", "tokens-pipeline", vocabulary, text, quick)
	for _, c := range []*contender{one, all, rust} {
		p.of[c] = p.quick
	}
	return one, all, []*contender{
		b.python(ctx, "tiktoken", "tokens", "tokens.py", "tiktoken", ranks, text, slow),
		b.python(ctx, "tokenizers", "tokens", "tokens.py", "tokenizers", vocabulary, text, slow),
		b.python(ctx, "tokenizers, candidate", "tokens-candidate", "tokens.py", "tokenizers", vocabulary, text, slow),
		rust,
		b.rust(ctx, "bpe-openai", "tokens-bpe", text, slow),
		b.worker("pkoukk/tiktoken-go", "tokens-pkoukk", text, slow),
		b.worker("tiktoken-go/tokenizer", "tokens-tiktokengo", text, slow),
	}, nil
}

// tokenPasses says how often contenders pass over the texts while the time is taken.
type tokenPasses struct {
	quick, slow int
	of          map[*contender]int // of the quick ones
}

// repeatsOf is how often so many bytes are passed over to be about so many in all.
func repeatsOf(all, bytes int64) int { return int(max(1, (all+bytes/2)/max(1, bytes))) }

// time returns the processor time of one pass of a contender.
func (p tokenPasses) time(c *contender) func(sample) float64 {
	passes, ok := p.of[c]
	if !ok {
		passes = p.slow
	}
	return func(s sample) float64 { return phaseOf("passes")(s) / float64(passes) }
}

// speeds says how fast each contender was.
func (p tokenPasses) speeds(cs []*contender) []string {
	var out []string
	for _, c := range cs {
		if len(c.runs) == 0 {
			continue
		}
		pass, wall := spreadOf(c.of(p.time(c))).median, spreadOf(c.of(passesOf)).median
		out = append(out, fmt.Sprintf("%s, %d cores: %.1f MB of text for a processor second of the passes, which took %s s.", c.name,
			c.cores, float64(c.runs[0].said.Bytes)/pass/1e6, digits(wall)))
	}
	return out
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

// tokenizeAll passes over the texts of args[0] once, and args[1] times while the time is taken. Workers take the next
// document each, as those of a run take the next shard, so that none is idle before the last documents. encode
// must be safe for concurrent use, if there are several.
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
		var taken atomic.Int64
		for range workers {
			group.Go(func() {
				var ids []int32
				for {
					i := int(taken.Add(1) - 1)
					if i >= repeats*len(texts) {
						return
					}
					ids = encode(ids[:0], texts[i%len(texts)])
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
