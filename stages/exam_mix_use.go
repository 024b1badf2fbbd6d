package stages

import (
	"encoding/binary"
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
// tokens, for as many tokens as both sequences have room for; of an exam of pages the sequences with text of such a
// document.
func (e *MixExam) Trained(data eval.Data) (rows int, bySeed []int, err error) {
	find := e.trainedRows
	if e.Pages {
		find = e.trainedPages
	}
	trained, err := find(data)
	if err != nil {
		return 0, nil, err
	}
	for _, t := range trained {
		if t {
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

// trainedRows marks the rows that begin like a training document.
func (e *MixExam) trainedRows(data eval.Data) (trained []bool, err error) {
	var s tokenize.Sequence
	if err := e.Sequence(0, &s); err != nil {
		return nil, err
	}
	prefixes, room := map[uint64]bool{}, len(s.Tokens)
	for i := range data.Sequences() {
		if err := data.Sequence(i, &s); err != nil {
			return nil, err
		}
		room = min(room, len(s.Tokens))
		for _, seg := range s.Segments {
			if seg.From == 0 {
				prefixes[hashTokens(s.Tokens[seg.Start:min(seg.End, seg.Start+room)])] = true
			}
		}
	}
	trained = make([]bool, e.Sequences())
	for i := range trained {
		if err := e.Sequence(i, &s); err != nil {
			return nil, err
		}
		seg := s.Segments[0]
		trained[i] = prefixes[hashTokens(s.Tokens[seg.Start:min(seg.End, seg.Start+room)])]
	}
	return trained, nil
}

func hashTokens(ids []int32) uint64 {
	return xxh3.Hash(appendTokens(make([]byte, 0, 4*len(ids)), ids))
}

func appendTokens(buf []byte, ids []int32) []byte {
	for _, id := range ids {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(id))
	}
	return buf
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
	// Pages says that the rows are sequences of packed pages; Weights are then those of the data sets in the mean loss.
	Pages   bool               `json:"pages,omitempty"`
	Weights map[string]float64 `json:"weights,omitempty"`
	Without []string           `json:"data_sets_left_out,omitempty"` // those that have no sequence
}

// Report describes the exam, with the rows that are among training tokens, if there are any.
func (e *MixExam) Report(train eval.Data) (*MixReport, error) {
	m := &MixReport{Seeds: e.Seeds, Rows: e.Rows, Distinct: e.Sequences(), LeftOut: e.Dropped, Short: e.Short}
	for _, own := range e.BySeed {
		m.RowsOfSeed = append(m.RowsOfSeed, len(own))
	}
	if m.Pages = e.Pages; m.Pages {
		m.Weights, m.Without = e.scaledWeights()
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
	if m.Pages {
		out = fmt.Sprintf("%d packed sequences of the pages of %d seeds, weighed", m.Distinct, len(m.Seeds))
		for _, name := range slices.Sorted(maps.Keys(m.Weights)) {
			out += fmt.Sprintf(" %s %.3g", name, m.Weights[name])
		}
		if len(m.Without) > 0 {
			out += ", without " + strings.Join(m.Without, " and ")
		}
	}
	for _, why := range slices.Sorted(maps.Keys(m.LeftOut)) {
		out += fmt.Sprintf(", %d left out as %s", m.LeftOut[why], why)
	}
	for _, why := range m.Short {
		if !m.Pages { // they are long there, and notes of validator_rows
			out += ", " + why
		}
	}
	if m.Trained == nil {
		return out + "; training rows unknown without training tokens"
	}
	return out + fmt.Sprintf("; %d %s, by seed %s", *m.Trained, m.trainedAre("are training rows"),
		strings.Trim(fmt.Sprint(m.OfSeed), "[]"))
}

// trainedAre says what those are that were trained on: rows, in the words given, or sequences of pages.
func (m *MixReport) trainedAre(rows string) string {
	if m.Pages {
		return "have text of a training document in them"
	}
	return rows
}
