package sample

import (
	"fmt"
	"path"
)

// Kind says what a row of the corpus is.
type Kind string

// The kinds of rows; see the package comment.
const (
	Clean       Kind = "clean"
	Prose       Kind = "prose"
	Numbers     Kind = "numbers"
	ExactCopy   Kind = "exact_copy"
	NearCopy    Kind = "near_copy"
	Boilerplate Kind = "boilerplate"
	Malformed   Kind = "malformed"
	Leak        Kind = "leak"
)

// Share is how many of a thousand rows are of a kind.
type Share struct {
	Kind     Kind
	PerMille int
}

// Shares returns the composition of the corpus.
func Shares() []Share {
	return []Share{{Clean, 700}, {Prose, 70}, {Numbers, 50}, {ExactCopy, 60}, {NearCopy, 70},
		{Boilerplate, 27}, {Malformed, 3}, {Leak, 20}}
}

// Each block of so many rows has the composition exactly.
const blockRows = 1000

// cleanFirst is how many rows at the beginning are clean whatever their place says.
const cleanFirst = 16

// The streams of random numbers: one for each use, so that none influences another.
const (
	streamRow uint32 = iota
	streamHeldOut
	streamReference
	streamGeneral
	streamOriginal
	streamFault
	streamMeta
)

// corpus says where every row is and what it is, in constant memory.
type corpus struct {
	seed      uint64
	documents int64
	heldOut   int64 // rows of the held-out file
	reference int64
	files     []dataFile
	kinds     [blockRows]Kind
	g         *grammar
}

// dataFile is a range of rows.
type dataFile struct {
	name     string // below data/
	from, to int64
}

// fileRowsMax bounds the memory that the Parquet file takes while it is written.
const fileRowsMax = 50_000

// newCorpus plans a corpus of at least 100 documents.
func newCorpus(documents int64, seed uint64) (*corpus, error) {
	if documents < 100 || documents > 1<<32 {
		return nil, fmt.Errorf("%d documents: choose from 100 to %d", documents, int64(1)<<32)
	}
	g, err := newGrammar(slotNames())
	if err != nil {
		return nil, err
	}
	c := &corpus{seed: seed, documents: documents, g: g,
		heldOut: clamp(documents/40, 20, 20_000), reference: clamp(documents/10, 60, 20_000)}
	at := 0
	for _, s := range Shares() {
		for range s.PerMille {
			c.kinds[at] = s.Kind
			at++
		}
	}
	n := max(5, (documents+fileRowsMax-1)/fileRowsMax)
	for i := range n {
		ext := ".jsonl"
		if left := n - 1 - i; left < 3 {
			ext = [...]string{".parquet", ".jsonl.zst", ".jsonl.gz"}[left]
		}
		c.files = append(c.files, dataFile{fmt.Sprintf("problems-%05d%s", i, ext), i * documents / n, (i + 1) * documents / n})
	}
	return c, nil
}

func clamp(x, low, high int64) int64 { return max(low, min(high, x)) }

// parquet reports whether the file's rows are records of columns.
func (f dataFile) parquet() bool { return path.Ext(f.name) == ".parquet" }

// place returns the file and the row within it of a row of the corpus.
func (c *corpus) place(i int64) (f dataFile, row int64) {
	n := int64(len(c.files))
	at := i * n / c.documents
	for at+1 < n && c.files[at].to <= i {
		at++
	}
	return c.files[at], i - c.files[at].from
}

// kind returns what row i is.
func (c *corpus) kind(i int64) Kind {
	if i < cleanFirst {
		return Clean
	}
	key := scramble(c.seed ^ scramble(uint64(i/blockRows)))
	return c.kinds[permute(key, uint64(i%blockRows))]
}

// permute shuffles the numbers below blockRows: a Feistel network on 10 bits, walked
// until the number is in range (Black and Rogaway 2002, "Ciphers with arbitrary finite
// domains").
func permute(key, v uint64) uint64 {
	for {
		left, right := v>>5, v&31
		for round := range uint64(4) {
			left, right = right, left^scramble(key+round<<8+right)&31
		}
		if v = left<<5 | right; v < blockRows {
			return v
		}
	}
}

// original returns the clean row before row i that a copy at i is of.
func (c *corpus) original(i int64) int64 {
	r := newRNG(c.seed, streamOriginal, i)
	for {
		if j := int64(r.below(int(i))); c.kind(j) == Clean {
			return j
		}
	}
}
