package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Result is what a run has to report, in plan order. It holds no time and no place:
// two runs of one plan on the same data have equal results.
type Result struct {
	Plan    string        `json:"plan"`
	Seed    uint64        `json:"seed"`
	Build   string        `json:"build"`
	Kernels string        `json:"kernels"`
	Inputs  []InputRecord `json:"inputs"`
	Stages  []StageResult `json:"stages"`
	// Network names the profile in force, or is empty.
	Network string `json:"network,omitempty"`
	// Complete says that every stage of the plan ran.
	Complete bool   `json:"complete"`
	Refused  string `json:"refused,omitempty"`
}

// StageResult is one stage's part of a [Result].
type StageResult struct {
	Label   string   `json:"stage"`
	Kind    string   `json:"kind"`
	Ledger  *Ledger  `json:"ledger,omitempty"`
	Panels  []Panel  `json:"panels,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Summary []Figure `json:"summary,omitempty"`
	// Values are those of its tasks; of two of one name the later task's.
	Values   map[string]float64 `json:"values,omitempty"`
	Settings []Setting          `json:"settings,omitempty"`
	Implied  bool               `json:"implied,omitempty"`
	// Finished says that all of the stage's tasks are done; Reused that none had to run.
	Finished bool `json:"finished"`
	Reused   bool `json:"-"`
}

// result gathers the task reports by stage.
func (r *run) result() (*Result, error) {
	res := &Result{Plan: r.plan.Name, Seed: r.plan.Seed, Build: r.opt.Build, Kernels: r.opt.Kernels,
		Network: r.plan.NetworkOrigin, Complete: r.opt.Until == "", Inputs: r.record("", nil).Inputs}
	for i := range res.Inputs {
		res.Inputs[i].Place, res.Inputs[i].TouchedNS = "", 0
	}
	b := &resultBuilder{res: res, at: map[string]int{}, noted: map[string]bool{}}
	if r.plan.InputTokens() == "" {
		b.stage(inputStage, inputStage)
	}
	if r.plan.HeldOut != nil {
		if len(r.plan.HeldOut.Inputs) == 0 {
			b.stage(heldOutStage, heldOutStage)
		}
		b.stage(heldOutSetStage, heldOutSetStage)
	}
	for _, s := range r.plan.Stages {
		st := b.stage(s.Label(), s.Kind.Name)
		st.Settings, st.Implied = s.Effective, s.Implied
	}
	for _, w := range r.waves {
		for _, n := range w.nodes {
			b.add(n)
		}
	}
	for label, notes := range r.notes {
		st := b.stage(label, label)
		st.Notes = appendNew(st.Notes, notes)
	}
	for i := range res.Stages {
		res.Complete = res.Complete && res.Stages[i].Finished
	}
	return res, b.ledgers(r.plan.AlarmFraction)
}

type resultBuilder struct {
	res    *Result
	at     map[string]int
	noted  map[string]bool // files with a note about a malformed record
	passes []*Ledger       // by stage and pass, over all shards, in the order that documents flow
}

func (b *resultBuilder) stage(label, kind string) *StageResult {
	i, known := b.at[label]
	if !known {
		i = len(b.res.Stages)
		b.at[label] = i
		b.res.Stages = append(b.res.Stages, StageResult{Label: label, Kind: kind, Reused: true})
	}
	return &b.res.Stages[i]
}

// add adds one task's report to its stages.
func (b *resultBuilder) add(n *node) {
	if n.report == nil {
		return
	}
	if n.readsHeldOut() {
		return
	}
	for _, l := range n.report.Ledgers {
		b.pass(l)
		st := b.stage(l.Stage, l.Stage)
		st.Finished, st.Reused = true, st.Reused && n.reused
	}
	st := b.stage(n.stage, n.stage)
	st.Panels = append(st.Panels, n.report.Panels...)
	notes := n.report.Notes
	if in := n.report.Input; in != nil && in.Rejected > 0 && len(notes) > 0 {
		input := b.stage(inputStage, inputStage) // the first is about the first malformed record
		if !b.noted[n.file] {
			input.Notes = appendNew(input.Notes, notes[:1])
		}
		b.noted[n.file], notes = true, notes[1:]
		st = b.stage(n.stage, n.stage)
	}
	st.Notes = appendNew(st.Notes, notes)
	st.Summary = append(st.Summary, n.report.Summary...)
	if len(n.report.Values) > 0 {
		if st.Values == nil {
			st.Values = map[string]float64{}
		}
		maps.Copy(st.Values, n.report.Values)
	}
	st.Finished, st.Reused = true, st.Reused && n.reused
	b.res.Refused = cmp.Or(b.res.Refused, n.report.Refused)
}

// pass adds one shard's ledger to its pass.
func (b *resultBuilder) pass(l *Ledger) {
	for _, p := range b.passes {
		if p.Stage == l.Stage && p.Pass == l.Pass {
			p.Add(l)
			return
		}
	}
	sum := newLedger(l.Stage)
	sum.Pass = l.Pass
	sum.Add(l)
	b.passes = append(b.passes, sum)
}

// ledgers makes each stage's ledger of its passes: what came into the first came in,
// what the last kept is kept; alarms become notes. It checks that every pass saw what the one before kept.
func (b *resultBuilder) ledgers(fraction float64) error {
	var before *Ledger
	for _, p := range b.passes {
		st := b.stage(p.Stage, p.Stage)
		if p.Stage == heldOutSetStage {
			st.Ledger = p
			continue
		}
		if before != nil && before.Kept != p.In {
			return fmt.Errorf("stage %s kept %d documents and stage %s saw %d", before.Stage, before.Kept, p.Stage, p.In)
		}
		before = p
		st.Notes = appendNew(st.Notes, alarmsOf(p, fraction))
		st.Ledger = joinPasses(st.Ledger, p)
		if err := st.Ledger.Check(); err != nil {
			return err
		}
	}
	return nil
}

// joinPasses adds a stage's next pass to its ledger.
func joinPasses(l, next *Ledger) *Ledger {
	sum := newLedger(next.Stage)
	sum.Add(next)
	if l == nil {
		return sum
	}
	rest := *next
	rest.In, rest.BytesIn, rest.Kept, rest.BytesOut, rest.Sources = 0, 0, 0, 0, nil
	out := newLedger(next.Stage)
	out.Add(l)
	out.Add(&rest)
	out.Kept, out.BytesOut = next.Kept, next.BytesOut
	for name, s := range out.Sources {
		s.Kept = 0
		if after := next.Sources[name]; after != nil {
			s.Kept = after.Kept
		}
	}
	return out
}

func appendNew(notes, more []string) []string {
	for _, n := range more {
		if !slices.Contains(notes, n) {
			notes = append(notes, n)
		}
	}
	return notes
}

// Stage returns a stage's result by label.
func (r *Result) Stage(label string) (*StageResult, error) {
	for i := range r.Stages {
		if r.Stages[i].Label == label {
			return &r.Stages[i], nil
		}
	}
	return nil, fmt.Errorf("the run has no stage %q", label)
}
