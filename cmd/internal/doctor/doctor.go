// Package doctor answers the networks' checklists of what makes an update score from the figures of
// a run's own report.
//
// Each line is one check: what the figures say and what to change. A line that the figures cannot
// answer says which stage or key would answer it; nothing is guessed. Lines that ask for a change come
// first, in the order of the levers that Block Zero's Optimization Guide names (data, length of
// training, learning rate, choice of the expert group), with the verdict before them; then those that
// are not answered. Limits that are this program's own are stated where they are used.
package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"bzdata/pipeline"
)

// State says what a line asks for.
type State string

// The states, in the order of lines.
const (
	Change  State = "change"
	Unknown State = "not answered"
	Fine    State = "fine"
)

// Answer is one line of the checklist.
type Answer struct {
	Check string `json:"check"`
	State State  `json:"state"`
	// Says is what the run's figures say, Do what to change, or what would answer the line; Do may be
	// empty for lines that are fine.
	Says string `json:"says"`
	Do   string `json:"do,omitempty"`
	// Figures are the numbers that the answer rests on, by name.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Run is one run's report.
type Run struct {
	Name string // as it was given
	*pipeline.Result
	// Profile has the defaults of the network's profile by names such as train.learning_rate; nil if
	// the run has no profile or it is not known here.
	Profile map[string]any
}

// checks are all lines, in the order of levers.
func checks() []func(*Run) Answer {
	return []func(*Run) Answer{gate, effective, leak, nearCopies, exactCopies, offDomain, malformed, truncation,
		padding, passes, stillFalling, overfit, skipped, learningRate, warmup, group, baseVersion, bundled}
}

// Examine answers every line for a run.
func Examine(r *Run) []Answer {
	var out []Answer
	for _, check := range checks() {
		out = append(out, check(r))
	}
	order := []State{Change, Unknown, Fine}
	slices.SortStableFunc(out, func(a, b Answer) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	return out
}

// stage is the last stage of a kind that has finished, or nil.
func (r *Run) stage(kind string) *pipeline.StageResult {
	var found *pipeline.StageResult
	for i := range r.Stages {
		if s := &r.Stages[i]; s.Kind == kind && s.Finished {
			found = s
		}
	}
	return found
}

// planned reports whether the plan has a stage of a kind, finished or not.
func (r *Run) planned(kind string) bool {
	return slices.ContainsFunc(r.Stages, func(s pipeline.StageResult) bool { return s.Kind == kind })
}

// missing is the answer to a line whose stage the run has not got.
func (r *Run) missing(check, kind, add string) Answer {
	if r.planned(kind) {
		return Answer{Check: check, State: Unknown, Says: "the run did not get to the end of " + kind,
			Do: "run the plan again; it goes on where it was"}
	}
	if r.planned("tokens") && slices.Contains(ofDocuments, kind) {
		return r.earlier(check)
	}
	return Answer{Check: check, State: Unknown, Says: "the plan has no " + kind + " stage", Do: add}
}

// ofDocuments are the kinds of stages that a plan cannot have whose input is tokens.
var ofDocuments = []string{"minhash", "exact_dedup", "domain", "decontaminate", "route", "tokenize"}

// earlier is the answer to a line about documents, of a run that trained on tokens which another has made.
func (r *Run) earlier(check string) Answer {
	return Answer{Check: check, State: Unknown, Says: "the plan's input is tokens, which another run has made",
		Do: "ask bzdata doctor about that run, too"}
}

// unrecorded is the answer to a line whose figures the report lacks.
func unrecorded(check, kind string) Answer {
	return Answer{Check: check, State: Unknown, Says: "the report has no figures of " + kind + " for it",
		Do: "an earlier build made it: run the plan again with --fresh"}
}

// values returns a stage's figures of the given names; ok is false if one is missing.
func (r *Run) values(kind string, names ...string) (map[string]float64, bool) {
	s, out := r.stage(kind), map[string]float64{}
	for _, name := range names {
		if s == nil {
			return nil, false
		}
		v, ok := s.Values[name]
		if !ok {
			return nil, false
		}
		out[name] = v
	}
	return out, true
}

// setting returns an effective value of a stage's configuration that is a number, and its origin.
func (r *Run) setting(kind, key string) (v float64, origin string, ok bool) {
	s := r.stage(kind)
	if s == nil {
		return 0, "", false
	}
	for _, e := range s.Settings {
		if e.Key == key {
			v, ok := number(e.Value)
			return v, e.Origin, ok
		}
	}
	return 0, "", false
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

// percent is a share in words.
func percent(part, whole float64) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*part/whole)
}
