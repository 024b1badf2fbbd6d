package stages

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/tokenize"

	"github.com/zeebo/xxh3"
)

// OfSeed are the losses of a seed's rows, from those of the exam.
func (e *MixExam) OfSeed(l *eval.Losses, seed int) *eval.Losses {
	out := &eval.Losses{Sources: l.Sources}
	for _, at := range e.BySeed[seed] {
		out.Sequences, out.Documents = append(out.Sequences, l.Sequences[at]), append(out.Documents, l.Documents[at])
	}
	return out
}

// Judge scores each seed's rows for itself, as the validators of that seed would.
func (e *MixExam) Judge(p *network.Profile, base, candidate *eval.Losses) ([]network.Judgement, *network.Draws, error) {
	var judged []network.Judgement
	out := &network.Draws{Min: math.Inf(1), Max: math.Inf(-1), OfAll: e.Sequences()}
	for i := range e.Seeds {
		j, err := p.Judge(e.OfSeed(base, i), e.OfSeed(candidate, i))
		if err != nil {
			return nil, nil, err
		}
		judged = append(judged, j)
		out.Add(e.First+uint64(i), j)
	}
	return judged, out, nil
}

// Trained counts the rows of the exam, and of each seed, that begin like a training document of a run's
// tokens, for as many tokens as both sequences have room for.
func (e *MixExam) Trained(data eval.Data) (rows int, bySeed []int, err error) {
	var s tokenize.Sequence
	if err := e.Sequence(0, &s); err != nil {
		return 0, nil, err
	}
	prefixes, room := map[uint64]bool{}, len(s.Tokens)
	for i := range data.Sequences() {
		if err := data.Sequence(i, &s); err != nil {
			return 0, nil, err
		}
		room = min(room, len(s.Tokens))
		for _, seg := range s.Segments {
			if seg.From == 0 {
				prefixes[hashTokens(s.Tokens[seg.Start:min(seg.End, seg.Start+room)])] = true
			}
		}
	}
	trained := make([]bool, e.Sequences())
	for i := range trained {
		if err := e.Sequence(i, &s); err != nil {
			return 0, nil, err
		}
		seg := s.Segments[0]
		if trained[i] = prefixes[hashTokens(s.Tokens[seg.Start:min(seg.End, seg.Start+room)])]; trained[i] {
			rows++
		}
	}
	for _, own := range e.BySeed {
		n := 0
		for _, at := range own {
			if trained[at] {
				n++
			}
		}
		bySeed = append(bySeed, n)
	}
	return rows, bySeed, nil
}

func hashTokens(ids []int32) uint64 {
	buf := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		buf = append(buf, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	return xxh3.Hash(buf)
}

// MixReport says of what rows an exam of a mix is made.
type MixReport struct {
	Seeds      []string       `json:"combined_seeds"`
	RowsOfSeed []int          `json:"rows_of_seed"`
	Rows       int            `json:"rows"`     // of all seeds, those of several as often
	Distinct   int            `json:"distinct"` // judged
	LeftOut    map[string]int `json:"left_out"` // by the profile's rules, as often as seeds have them
	Short      []string       `json:"short,omitempty"`
	Trained    *int           `json:"trained"` // of the distinct; null without training tokens
	OfSeed     []int          `json:"trained_of_seed,omitempty"`
}

// Report describes the exam, with the rows that are among training tokens, if there are any.
func (e *MixExam) Report(train eval.Data) (*MixReport, error) {
	m := &MixReport{Seeds: e.Seeds, Rows: e.Rows, Distinct: e.Sequences(), LeftOut: e.Dropped, Short: e.Short}
	for _, own := range e.BySeed {
		m.RowsOfSeed = append(m.RowsOfSeed, len(own))
	}
	if train == nil {
		return m, nil
	}
	n, bySeed, err := e.Trained(train)
	m.Trained, m.OfSeed = &n, bySeed
	return m, err
}

// String is one line.
func (m *MixReport) String() string {
	out := fmt.Sprintf("%d rows of %d seeds, %d distinct", m.Rows, len(m.Seeds), m.Distinct)
	for _, why := range slices.Sorted(maps.Keys(m.LeftOut)) {
		out += fmt.Sprintf(", %d left out as %s", m.LeftOut[why], why)
	}
	for _, why := range m.Short {
		out += ", " + why
	}
	if m.Trained == nil {
		return out + "; training rows unknown without training tokens"
	}
	return out + fmt.Sprintf("; %d are training rows, by seed %s", *m.Trained, strings.Trim(fmt.Sprint(m.OfSeed), "[]"))
}
