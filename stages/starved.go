package stages

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

const (
	// starvedShare of the weight that validators give a data set is where a mixture begins to starve it.
	starvedShare = 0.5
	// starvedDropped is the share of a source's documents that domain may drop before it starves it.
	starvedDropped = 0.5
)

// Starved says which stages starve a source that the plan's validators weigh, by the stage's label: mix by its
// weights, and domain by what it has dropped, once a run has shown it; ledgers may be nil. A source is a data set
// of the validators if it is called like it, OWNER/NAME or NAME. There is nothing to say without the section evaluate.
func Starved(p *pipeline.Plan, fsys store.FS, ledgers map[string]*pipeline.Ledger) (map[string][]string, error) {
	if p.Evaluate == nil {
		return nil, nil
	}
	sets, err := weighedSets(p, fsys)
	if err != nil {
		return nil, err
	}
	weights := weightsOf(p.Sources(), sets)
	out := map[string][]string{}
	for _, s := range p.Stages {
		for _, source := range slices.Sorted(maps.Keys(weights)) {
			said := ""
			switch c := s.Config.(type) {
			case Mix:
				said = c.starves(source, weights[source])
			case Domain:
				said = dropsMost(ledgers[s.Label()], source, weights[source])
			}
			if said != "" {
				out[s.Label()] = append(out[s.Label()], said)
			}
		}
	}
	return out, nil
}

// weighedSets are the data sets that validators read, by their profile or by an expert group.
func weighedSets(p *pipeline.Plan, fsys store.FS) ([]mirror.Weighted, error) {
	profile, err := network.Find(fsys, p.Dir(), p.Network.Profile)
	switch {
	case err != nil:
		return nil, &pipeline.UsageError{Msg: err.Error(), Err: err}
	case profile.Evaluate.Paged():
		var out []mirror.Weighted
		for _, s := range profile.Evaluate.Sources {
			of := mirror.Source{Path: s.Path, Name: s.Config}
			out = append(out, mirror.Weighted{Source: of, Weight: s.Weight, Label: s.Name})
		}
		return out, nil
	case p.Evaluate.SourcesFrom == "":
		return nil, fmt.Errorf("evaluate: %w", noSources(profile))
	}
	name := p.Path(string(p.Evaluate.SourcesFrom))
	config, err := checkpoint.ReadGroupConfig(fsys, name)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("evaluate.sources_from: %s: %v", name, err), Err: err}
	}
	sets, err := mirror.SourcesOf(config.Data)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("evaluate.sources_from: %s: %v", name, err), Err: err}
	}
	return sets, nil
}

// weightsOf are the shares that validators give the plan's sources; those that they do not read have none.
func weightsOf(sources []string, sets []mirror.Weighted) map[string]float64 {
	sum, out := 0.0, map[string]float64{}
	for _, s := range sets {
		sum += s.Weight
	}
	for _, source := range sources {
		for _, s := range sets {
			called := strings.EqualFold(source, s.Path) || strings.EqualFold(source, s.Label) ||
				strings.EqualFold(source, path.Base(s.Path))
			if called && s.Weight > 0 {
				out[source] += s.Weight / sum
			}
		}
	}
	return out
}

// starves says so if the mixture has far less of a source than validators.
func (c Mix) starves(source string, weight float64) string {
	share := c.share(source)
	if share >= starvedShare*weight {
		return ""
	}
	return fmt.Sprintf("gives %.1f %% to source %s, which validators weigh %.1f %%: it starves what the exam asks for",
		100*share, source, 100*weight)
}

func dropsMost(l *pipeline.Ledger, source string, weight float64) string {
	if l == nil || l.Sources[source] == nil {
		return ""
	}
	s := l.Sources[source]
	if float64(s.In-s.Kept) <= starvedDropped*float64(s.In) {
		return ""
	}
	return fmt.Sprintf("dropped %d of %d documents of source %s, which validators weigh %.1f %%: it starves what the exam asks "+
		"for; choose a reference that is like the exam", s.In-s.Kept, s.In, source, 100*weight)
}

// NoteStarved adds what [Starved] says to the stages of a run's result.
func NoteStarved(p *pipeline.Plan, fsys store.FS, res *pipeline.Result) error {
	ledgers := map[string]*pipeline.Ledger{}
	for _, s := range res.Stages {
		ledgers[s.Label] = s.Ledger
	}
	said, err := Starved(p, fsys, ledgers)
	for i := range res.Stages {
		s := &res.Stages[i]
		for _, text := range said[s.Label] {
			s.Notes = append(s.Notes, "warning: "+text)
		}
	}
	return err
}
