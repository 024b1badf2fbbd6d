package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Ledger accounts for every document that one stage saw. It balances when
// In = Kept + HeldOut + Rejected + the sum of Dropped.
type Ledger struct {
	Stage    string                   `json:"stage"`
	Pass     string                   `json:"pass,omitempty"` // of a stage with several
	In       int64                    `json:"in"`
	Kept     int64                    `json:"kept"`
	HeldOut  int64                    `json:"held_out,omitempty"`
	Rejected int64                    `json:"rejected,omitempty"`
	Dropped  map[string]int64         `json:"dropped,omitempty"`
	Edits    map[string]int64         `json:"edits,omitempty"`
	Extra    int64                    `json:"extra_copies,omitempty"` // copies beyond the first, after mix
	BytesIn  int64                    `json:"text_bytes_in"`
	BytesOut int64                    `json:"text_bytes_kept"`
	Sources  map[string]*SourceLedger `json:"sources,omitempty"`
	Observed map[string]*Histogram    `json:"observed,omitempty"`
	Examples []Example                `json:"examples,omitempty"`
}

// SourceLedger is one source's share of a [Ledger].
type SourceLedger struct {
	In   int64 `json:"in"`
	Kept int64 `json:"kept"`
}

// Example is a dropped document shown in reports.
type Example struct {
	Reason  string  `json:"reason"`
	Source  string  `json:"source,omitempty"`
	File    string  `json:"file"`
	Row     uint64  `json:"row"`
	Value   float64 `json:"value"`
	Matched string  `json:"matched,omitempty"`
	Text    string  `json:"text"`
	Rank    uint64  `json:"rank"` // the examples of lowest rank are shown: a seeded hash of the id
}

// Name names the document as reports name others that it matches. Results that earlier builds
// left do not have its source.
func (e Example) Name() string {
	name := (&Doc{Source: e.Source, Path: e.File, Ref: Ref{Record: e.Row}}).Name()
	return strings.TrimPrefix(name, ":")
}

// examplesPerReason is how many dropped documents a ledger keeps for each reason.
const examplesPerReason = 3

// exampleTextRunes bounds the text of an example.
const exampleTextRunes = 280

func newLedger(stage string) *Ledger {
	return &Ledger{Stage: stage, Dropped: map[string]int64{}, Edits: map[string]int64{},
		Sources: map[string]*SourceLedger{}, Observed: map[string]*Histogram{}}
}

func (l *Ledger) source(name string) *SourceLedger {
	s := l.Sources[name]
	if s == nil {
		s = &SourceLedger{}
		l.Sources[name] = s
	}
	return s
}

// DroppedSum is the number of documents dropped for any reason.
func (l *Ledger) DroppedSum() int64 {
	sum := int64(0)
	for _, n := range l.Dropped {
		sum += n
	}
	return sum
}

// Check returns an error if the counts do not balance.
func (l *Ledger) Check() error {
	if out := l.Kept + l.HeldOut + l.Rejected + l.DroppedSum(); out != l.In {
		return fmt.Errorf("stage %s: %d documents came in and %d are accounted for", l.Stage, l.In, out)
	}
	return nil
}

// Add adds another task's ledger of the same stage.
func (l *Ledger) Add(o *Ledger) {
	l.In, l.Kept, l.HeldOut = l.In+o.In, l.Kept+o.Kept, l.HeldOut+o.HeldOut
	l.Rejected, l.Extra = l.Rejected+o.Rejected, l.Extra+o.Extra
	l.BytesIn, l.BytesOut = l.BytesIn+o.BytesIn, l.BytesOut+o.BytesOut
	for k, n := range o.Dropped {
		l.Dropped[k] += n
	}
	for k, n := range o.Edits {
		l.Edits[k] += n
	}
	for k, s := range o.Sources {
		mine := l.source(k)
		mine.In, mine.Kept = mine.In+s.In, mine.Kept+s.Kept
	}
	for _, k := range slices.Sorted(maps.Keys(o.Observed)) {
		if l.Observed[k] == nil {
			l.Observed[k] = NewHistogram()
		}
		l.Observed[k].Add(o.Observed[k])
	}
	for _, e := range o.Examples {
		l.example(e)
	}
}

// example keeps e if it is among the first of its reason, by rank.
func (l *Ledger) example(e Example) {
	l.Examples = append(l.Examples, e)
	slices.SortFunc(l.Examples, func(a, b Example) int {
		return cmp.Or(strings.Compare(a.Reason, b.Reason), cmp.Compare(a.Rank, b.Rank),
			strings.Compare(a.File, b.File), cmp.Compare(a.Row, b.Row))
	})
	seen := map[string]int{}
	l.Examples = slices.DeleteFunc(l.Examples, func(e Example) bool {
		seen[e.Reason]++
		return seen[e.Reason] > examplesPerReason
	})
}

// wanted reports whether an example of this reason and rank would be kept.
func (l *Ledger) wanted(reason string, rank uint64) bool {
	n, worst := 0, uint64(0)
	for _, e := range l.Examples {
		if e.Reason == reason {
			n, worst = n+1, max(worst, e.Rank)
		}
	}
	return n < examplesPerReason || rank < worst
}

// excerpt is the start of a text, for people to read.
func excerpt(text string) string {
	runes := []rune(text[:min(len(text), 4*exampleTextRunes)])
	if len(runes) > exampleTextRunes {
		return string(runes[:exampleTextRunes]) + "…"
	}
	return strings.ToValidUTF8(string(runes), "�")
}

// Histogram counts values in buckets whose bounds are fixed, so that the histograms
// of tasks add up to the same whole in any order: 16 buckets per power of two, for
// each sign, and one for zero.
type Histogram struct {
	Counts map[int]int64 `json:"counts"` // by bucket
	NaN    int64         `json:"nan,omitempty"`
}

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram { return &Histogram{Counts: map[int]int64{}} }

// bucketsPerOctave is the histogram's resolution: 16 bounds per doubling, 4.4 %.
const bucketsPerOctave = 16

// bucketBase keeps buckets of tiny positive values above zero's.
const bucketBase = 64 * bucketsPerOctave

// Observe counts one value.
func (h *Histogram) Observe(v float64) {
	if math.IsNaN(v) {
		h.NaN++
		return
	}
	h.Counts[bucketOf(v)]++
}

func bucketOf(v float64) int {
	if v == 0 {
		return 0
	}
	b := 2 * bucketBase // holds infinity, too
	if !math.IsInf(v, 0) {
		mantissa, exponent := math.Frexp(math.Abs(v)) // mantissa in [0.5, 1)
		b = bucketBase + exponent*bucketsPerOctave + int((mantissa-0.5)*2*bucketsPerOctave)
		b = max(1, min(b, 2*bucketBase))
	}
	if v < 0 {
		return -b
	}
	return b
}

// BucketBounds returns the values that bucket b holds: low <= |v| < high, with sign.
func BucketBounds(b int) (low, high float64) {
	if b == 0 {
		return 0, 0
	}
	if b < 0 {
		low, high = BucketBounds(-b)
		return -high, -low
	}
	bound := func(i int) float64 {
		i -= bucketBase
		exponent := int(math.Floor(float64(i) / bucketsPerOctave))
		step := i - exponent*bucketsPerOctave
		return math.Ldexp(0.5+float64(step)/(2*bucketsPerOctave), exponent)
	}
	return bound(b), bound(b + 1)
}

// Add adds another histogram.
func (h *Histogram) Add(o *Histogram) {
	for b, n := range o.Counts {
		h.Counts[b] += n
	}
	h.NaN += o.NaN
}

// Total is the number of values counted, NaN aside.
func (h *Histogram) Total() int64 {
	sum := int64(0)
	for _, n := range h.Counts {
		sum += n
	}
	return sum
}

// HashID is a 64-bit hash of a document id under a seed and a purpose, the source of
// every random choice about a document: FNV-1a of the five, each but the last with a zero
// byte behind it, the numbers in decimal.
func HashID(seed uint64, purpose, source, path string, record uint64) uint64 {
	var number [20]byte
	h := fnvByte(fnvAdd(fnvOffset, strconv.AppendUint(number[:0], seed, 10)), 0)
	h = fnvByte(fnvAdd(h, purpose), 0)
	h = fnvByte(fnvAdd(h, source), 0)
	h = fnvByte(fnvAdd(h, path), 0)
	return mix(fnvAdd(h, strconv.AppendUint(number[:0], record, 10)))
}

// The numbers of 64-bit FNV-1a.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnvByte(h uint64, b byte) uint64 { return (h ^ uint64(b)) * fnvPrime }

func fnvAdd[T string | []byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = fnvByte(h, s[i])
	}
	return h
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
