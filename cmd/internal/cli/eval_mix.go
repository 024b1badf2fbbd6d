package cli

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// mixReport says of what rows an exam of --mirror is made.
type mixReport struct {
	Seeds      []string       `json:"combined_seeds"`
	RowsOfSeed []int          `json:"rows_of_seed"`
	Rows       int            `json:"rows"`     // of all seeds, those of several as often
	Distinct   int            `json:"distinct"` // judged
	LeftOut    map[string]int `json:"left_out"` // by the profile's rules, as often as seeds have them
	Trained    *int           `json:"trained"`  // of the distinct; null without --tokens
	OfSeed     []int          `json:"trained_of_seed,omitempty"`
}

// String is one line.
func (m *mixReport) String() string {
	out := fmt.Sprintf("%d rows of %d seeds, %d distinct", m.Rows, len(m.Seeds), m.Distinct)
	for _, why := range slices.Sorted(maps.Keys(m.LeftOut)) {
		out += fmt.Sprintf(", %d left out as %s", m.LeftOut[why], why)
	}
	if m.Trained == nil {
		return out + "; training rows unknown without --tokens"
	}
	return out + fmt.Sprintf("; %d are training rows, by seed %s", *m.Trained, strings.Trim(fmt.Sprint(m.OfSeed), "[]"))
}

// openExam opens the tokens, or makes an exam of the mirror's rows, of which e then has a report.
func (f *evalFlags) openExam(p *network.Profile, e *evaluated) (*stages.Exam, error) {
	if f.mix.Mirror == "" {
		return stages.OpenExam(store.OS(), f.tokens, f.part, f.base)
	}
	f.mix.Seeds, f.mix.First = f.seeds, f.seed
	exam, err := stages.OpenMix(store.OS(), p, f.base, f.mix)
	if err != nil {
		return nil, err
	}
	e.exam = exam
	e.Mix = &mixReport{Seeds: exam.Seeds, Rows: exam.Rows, Distinct: exam.Sequences(), LeftOut: exam.Dropped}
	for _, own := range exam.BySeed {
		e.Mix.RowsOfSeed = append(e.Mix.RowsOfSeed, len(own))
	}
	if f.tokens == "" {
		return &exam.Exam, nil
	}
	trained, err := stages.OpenExam(store.OS(), f.tokens, "train", f.base)
	if err != nil {
		return nil, err
	}
	defer trained.Close()
	n, bySeed, err := exam.Trained(trained)
	e.Mix.Trained, e.Mix.OfSeed = &n, bySeed
	return &exam.Exam, err
}

// where names the exam.
func (f *evalFlags) where() string {
	if f.mix.Mirror != "" {
		return filepath.Clean(f.mix.Mirror)
	}
	return filepath.Clean(f.tokens) + " " + f.part
}

// bySeed scores each seed's rows for itself.
func (e *evaluated) bySeed(p *network.Profile, base, candidate *eval.Losses) (*network.Draws, error) {
	out := &network.Draws{Min: math.Inf(1), Max: math.Inf(-1), OfAll: e.exam.Sequences()}
	for i := range e.exam.Seeds {
		j, err := p.Judge(e.exam.OfSeed(base, i), e.exam.OfSeed(candidate, i))
		if err != nil {
			return nil, err
		}
		out.Add(uint64(i), j)
	}
	return out, nil
}
