package tokenize

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPackingBestFit(t *testing.T) {
	o := PackOptions{Packing: PackBestFit, SequenceLength: 6, EOS: 8, Pad: 9}
	got, stats := pack(t, o, documents(2, 8, 1, 0, 4))
	want := []string{
		"11 12* 13* 14* 15* 16* |1@0:6+0",
		"1 2* 8* 17* 18* 8* |0@0:3+0|1@3:6+6",
		"41 42* 43* 44* 8* 9 |4@0:5+0",
	}
	// The rest of document 1 and document 0 fill a sequence; document 2 finds room in none.
	want = append(want[:2], "21 8* 9 9 9 9 |2@0:2+0", want[2])
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if s := (PackStats{Documents: 5, Empty: 1, Split: 1, Sequences: 4, DocumentTokens: 15, SeparatorTokens: 4, PlacedTokens: 19,
		PaddingTokens: 5, TargetTokens: 15}); stats != s {
		t.Errorf("got %+v\nwant %+v", stats, s)
	}
	masked := documents(3)
	masked[0].Masked = []bool{true, true, false}
	if got, _ := pack(t, o, append(masked, documents(0, 1)[1])); !slices.Equal(got, []string{"1 2 3* 8* 11* 8* |0@0:4+0|1@4:6+0"}) {
		t.Errorf("masked: %q", got)
	}
	o.Window = WindowHash
	cut := documents(9)
	cut[0].Start = 2
	if got, _ := pack(t, o, cut); !slices.Equal(got, []string{"3 4* 5* 6* 7* 8* |0@0:6+2"}) {
		t.Errorf("window: %q", got)
	}
}

// textbookFit lays pieces of the given lengths out by the definition: the longest first, each
// into the fullest sequence that has room, of equals the one that was changed last.
func textbookFit(lengths []int, length int) [][]int32 {
	order := make([]int32, len(lengths))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(x, y int32) int { return lengths[y] - lengths[x] })
	var bins [][]int32
	var room, changed []int
	for step, i := range order {
		best := -1
		for b := range bins {
			fits := room[b] >= lengths[i]
			if fits && (best < 0 || room[b] < room[best] || room[b] == room[best] && changed[b] > changed[best]) {
				best = b
			}
		}
		if best < 0 {
			best = len(bins)
			bins, room, changed = append(bins, nil), append(room, length), append(changed, 0)
		}
		bins[best] = append(bins[best], i)
		room[best] -= lengths[i]
		changed[best] = step
	}
	slices.SortFunc(bins, func(x, y []int32) int { return int(slices.Min(x) - slices.Min(y)) })
	return bins
}

func TestBestFitAsTextbook(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		length := 2 + r.IntN(150)
		b := newBestFit(length)
		for range 2 { // the second round uses the buffer again
			var lengths []int
			for range r.IntN(80) {
				n := 1 + r.IntN(length-1)
				lengths = append(lengths, n)
				b.add(Document{Tokens: make([]int32, n)}, 0, n)
			}
			if got, want := b.layOut(), textbookFit(lengths, length); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%v of %d: %v, want %v", lengths, length, got, want)
			}
			b.reset()
		}
	}
}

// TestBestFitLosesNothing packs many documents, several buffers full, and finds each token of
// each once, whole documents in one sequence.
func TestBestFitLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var lengths []int
	for range fitPiecesMax + 5000 {
		lengths = append(lengths, 1+r.IntN(40))
	}
	lengths[7] = 250
	docs := documents(lengths...)
	seen := make([]int, len(docs))
	o := PackOptions{Packing: PackBestFit, SequenceLength: 64, EOS: 1 << 30, Pad: 0}
	p, err := NewPacker(o, func(s *Sequence) error {
		for _, g := range s.Segments {
			d := docs[g.Document.Ordinal]
			seen[g.Document.Ordinal] += g.End - g.Start
			if len(d.Tokens) < 64 && g.End-g.Start != len(d.Tokens)+1 {
				return fmt.Errorf("document %d was cut", d.Ordinal)
			}
			for i := g.Start; i < g.End; i++ {
				if at := g.From + i - g.Start; at < len(d.Tokens) && s.Tokens[i] != d.Tokens[at] || at == len(d.Tokens) && s.Tokens[i] != o.EOS {
					return fmt.Errorf("document %d has %d at %d", d.Ordinal, s.Tokens[i], at)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		given := Document{DocumentInfo: d.DocumentInfo, Tokens: slices.Clone(d.Tokens)}
		if err := p.Add(given); err != nil {
			t.Fatal(err)
		}
		clear(given.Tokens) // the packer must have kept what it needs
	}
	stats, err := p.Close()
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, o, stats)
	for i, n := range seen {
		if n != len(docs[i].Tokens)+1 {
			t.Fatalf("document %d: %d tokens of %d", i, n, len(docs[i].Tokens)+1)
		}
	}
	if waste := float64(stats.PaddingTokens) / float64(stats.PlacedTokens); stats.TruncatedTokens != 0 || waste > 0.005 {
		t.Errorf("%.4f of padding, %d tokens cut", waste, stats.TruncatedTokens)
	}
}

// TestPackingESFT follows get_examples_from_buffer_pad by hand: with ratio 0 nothing loses its
// first token, with 1 every document behind another does.
func TestPackingESFT(t *testing.T) {
	docs := documents(3, 5, 0, 2, 9)
	docs[1].Masked = []bool{false, true, true, false, false}
	for _, c := range []struct {
		ratio float64
		want  []string
		s     PackStats
	}{
		{0, []string{"1 2* 3* 13 14* 15* |0@0:3+0|1@3:6+2", "31 32* 46* 47* 48* 49* |3@0:2+0|4@2:6+5"},
			PackStats{Documents: 5, Empty: 1, Truncated: 2, Sequences: 2, DocumentTokens: 19, PlacedTokens: 12, TruncatedTokens: 7,
				TargetTokens: 9}},
		// With one place left, a document of which one token is kept loses that, too.
		{1, []string{"1 2* 3* 14* 15* 9 |0@0:3+0|1@3:5+3"},
			PackStats{Documents: 5, Empty: 1, Truncated: 3, Sequences: 1, DocumentTokens: 19, PlacedTokens: 5, TruncatedTokens: 11,
				HeadTokens: 3, PaddingTokens: 1, TargetTokens: 4}},
	} {
		o := PackOptions{Packing: PackESFT, SequenceLength: 6, EOS: 8, Pad: 9, ConcatRatio: c.ratio}
		got, stats := pack(t, o, docs)
		if !slices.Equal(got, c.want) || stats != c.s {
			t.Errorf("ratio %g:\n got %q %+v\nwant %q %+v", c.ratio, got, stats, c.want, c.s)
		}
	}
	many := make([]int, 4000)
	for i := range many {
		many[i] = 3
	}
	o := PackOptions{Packing: PackESFT, SequenceLength: 300, EOS: 8, Pad: 9, ConcatRatio: 0.2, Seed: 1}
	first, stats := pack(t, o, documents(many...))
	if share := float64(stats.HeadTokens) / 4000; share < 0.18 || share > 0.22 {
		t.Errorf("%.3f of the documents lost their first token, want 0.2", share)
	}
	if again, _ := pack(t, o, documents(many...)); !slices.Equal(first, again) {
		t.Error("the same seed packs differently")
	}
	if o.Seed = 2; slices.Equal(first, func() []string { s, _ := pack(t, o, documents(many...)); return s }()) {
		t.Error("another seed packs the same")
	}
}

func TestPackOptionErrors(t *testing.T) {
	for want, o := range map[string]PackOptions{
		`packing "best-fit" needs an EOS token`: {Packing: PackBestFit, SequenceLength: 4, EOS: -1},
		`concat ratio is 1.5`:                   {Packing: PackESFT, SequenceLength: 4, ConcatRatio: 1.5},
		`keeps the end of long documents`:       {Packing: PackESFT, SequenceLength: 4, Window: WindowHash},
	} {
		if _, err := NewPacker(o, nil); err == nil || !containsText(err, want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}
