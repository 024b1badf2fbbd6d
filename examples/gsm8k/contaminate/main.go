// Command contaminate makes the input of the check on real data: GSM8K's training
// problems with planted faults, and the truth about every row.
//
//	contaminate --data DIR --out DIR --seed N
//
// DIR/gsm8k, DIR/wikitext2 and DIR/esft hold the real data. Of GSM8K's training set 500
// rows are set apart as the reference of the domain; the others are clean rows.
// Contamination is 30 % of the documents, in fixed shares (see shares): sections of
// WikiText-2, generated prose full of numbers, the Chinese law set, exact copies, copies
// with 1 to 8 % of their words edited, truncated lines, and leaks of GSM8K's test set.
// All rows stand in the same files, shuffled, as {"question", "answer"}: neither file nor
// source nor layout tells them apart.
//
// It writes data/train-N.jsonl, reference.jsonl, test.jsonl, truth.jsonl and shuffled.jsonl,
// the clean rows with their words in random order, and prints a histogram of the edited
// copies' Jaccard similarity over shingles of 5 words.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Truth is what one row is, a line of truth.jsonl.
type Truth struct {
	File string `json:"file"`
	Row  int    `json:"row"`
	Kind string `json:"kind"`
	// Of is the text that a copy or leak was made of: the number of a clean or test row.
	Of      int     `json:"of"`
	Jaccard float64 `json:"jaccard,omitempty"` // of an edited copy and its original
	Number  int     `json:"number"`            // of a clean row
}

// row is one line to be written, with its truth.
type row struct {
	line  []byte
	truth Truth
}

// problem is one row of GSM8K.
type problem struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
}

func (p problem) text() string { return p.Question + "\n" + p.Answer }

// referenceRows is how many rows are set apart as reference.
const referenceRows = 500

// contamination is the share of all documents that is planted.
const contamination = 0.30

// shares are the kinds of contamination and their share of it.
var shares = []struct {
	kind  string
	share float64
}{
	{"wikitext", 0.18}, {"numbers", 0.16}, {"law", 0.13}, {"exact_copy", 0.13},
	{"near_copy", 0.33}, {"leak", 0.06}, {"malformed", 0.01},
}

// files is the number of input files.
const files = 4

func main() {
	data := flag.String("data", "", "folder of the real data")
	out := flag.String("out", "", "folder to write")
	seed := flag.Uint64("seed", 1, "seed")
	flag.Parse()
	if err := run(*data, *out, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "contaminate:", err)
		os.Exit(1)
	}
}

func run(data, out string, seed uint64) error {
	m, err := load(data, seed)
	if err != nil {
		return err
	}
	rows := m.cleanRows()
	planted := int(float64(len(rows)) * contamination / (1 - contamination))
	for _, s := range shares {
		for i := range int(float64(planted) * s.share) {
			rows = append(rows, m.plant(s.kind, i))
		}
	}
	m.rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	if err := write(out, rows); err != nil {
		return err
	}
	if err := writeProblems(filepath.Join(out, "reference.jsonl"), m.reference); err != nil {
		return err
	}
	if err := writeProblems(filepath.Join(out, "test.jsonl"), m.test); err != nil {
		return err
	}
	if err := writeProblems(filepath.Join(out, "shuffled.jsonl"), m.shuffled()); err != nil {
		return err
	}
	fmt.Printf("%d rows, %d of them planted (%.1f %%)\n", len(rows), len(rows)-len(m.clean),
		100*float64(len(rows)-len(m.clean))/float64(len(rows)))
	m.histogram()
	return nil
}

// maker makes planted rows of the real data.
type maker struct {
	rng       *rand.Rand
	reference []problem
	clean     []problem
	test      []problem
	wiki, law []string
	similar   []float64 // Jaccard of every edited copy
}

func load(data string, seed uint64) (*maker, error) {
	m := &maker{rng: rand.New(rand.NewPCG(seed, 0x6d75))}
	train, err := readProblems(filepath.Join(data, "gsm8k", "train.jsonl"))
	if err != nil {
		return nil, err
	}
	if m.test, err = readProblems(filepath.Join(data, "gsm8k", "test.jsonl")); err != nil {
		return nil, err
	}
	m.rng.Shuffle(len(train), func(i, j int) { train[i], train[j] = train[j], train[i] })
	m.reference, m.clean = train[:referenceRows], train[referenceRows:]
	m.wiki, err = readTexts(filepath.Join(data, "wikitext2", "sections.jsonl"), func(line []byte) (string, error) {
		var d struct{ Text string }
		err := json.Unmarshal(line, &d)
		return d.Text, err
	})
	if err != nil {
		return nil, err
	}
	m.law, err = readTexts(filepath.Join(data, "esft", "law-train.jsonl"), func(line []byte) (string, error) {
		var d struct{ Messages []struct{ Content string } }
		err := json.Unmarshal(line, &d)
		text := ""
		for _, msg := range d.Messages {
			text += msg.Content + "\n"
		}
		return text, err
	})
	if err != nil {
		return nil, err
	}
	for _, texts := range [][]string{m.wiki, m.law} {
		m.rng.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	}
	return m, nil
}

func readTexts(name string, text func(line []byte) (string, error)) ([]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		t, err := text(line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, i+1, err)
		}
		if len([]rune(t)) >= 200 { // shorter ones would be dropped for their length alone
			out = append(out, t)
		}
	}
	return out, nil
}

func readProblems(name string) ([]problem, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []problem
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var p problem
		if err := json.Unmarshal(line, &p); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, i+1, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func writeProblems(name string, ps []problem) error {
	var b bytes.Buffer
	for _, p := range ps {
		b.Write(encode(p))
	}
	return os.WriteFile(name, b.Bytes(), 0o666)
}

// encode writes a row as GSM8K writes it.
func encode(p problem) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		panic(err) // two strings always encode
	}
	return b.Bytes()
}

// write spreads the rows over the input files and writes their truth.
func write(out string, rows []row) error {
	if err := os.MkdirAll(filepath.Join(out, "data"), 0o777); err != nil {
		return err
	}
	var truth bytes.Buffer
	enc := json.NewEncoder(&truth)
	for f := range files {
		name := fmt.Sprintf("train-%d.jsonl", f)
		var b bytes.Buffer
		part := rows[f*len(rows)/files : (f+1)*len(rows)/files]
		for i, r := range part {
			b.Write(r.line)
			r.truth.File, r.truth.Row = name, i
			if err := enc.Encode(r.truth); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(out, "data", name), b.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(out, "truth.jsonl"), truth.Bytes(), 0o666)
}
