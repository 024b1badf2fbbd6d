package pipeline

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"

	"bzdata/pipeline/store"
)

// Work is what a run of a plan would do.
type Work struct {
	Workdir     string `json:"workdir"`
	Files       int    `json:"files"`
	Bytes       int64  `json:"bytes"`
	MemoryBytes int64  `json:"memory_bytes"`
	Scratch
	Tasks        int         `json:"tasks"`
	TasksDone    int         `json:"tasks_done"`
	StagesReused int         `json:"stages_reused"`
	Settings     []Setting   `json:"settings"` // of the plan's sections but stages
	Stages       []StageWork `json:"stages"`
	// Note is what is odd about the plan, though no mistake, in a line.
	Note string `json:"note,omitempty"`
	// ExpertGroup says how the expert group will be chosen, if the plan does not name one.
	ExpertGroup string `json:"expert_group,omitempty"`
}

// StageWork is one stage's part of a [Work].
type StageWork struct {
	Label    string    `json:"stage"`
	Reused   bool      `json:"reused"`
	Implied  bool      `json:"implied,omitempty"`
	Settings []Setting `json:"settings,omitempty"`
	// Note is what the stage says about its configuration.
	Note string `json:"note,omitempty"`
}

// WriteJSON writes the outlook as JSON.
func (w *Work) WriteJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(w)
}

// Outlook lays a plan's tasks out and says which are done. It writes nothing.
func Outlook(plan *Plan, opt Options) (*Work, error) {
	r, err := newRun(context.Background(), plan, opt)
	if err != nil {
		return nil, err
	}
	if err := r.build(); err != nil {
		return nil, err
	}
	w := &Work{Workdir: opt.Workdir, Files: len(r.inputs), MemoryBytes: opt.MemoryBytes,
		Scratch: r.scratch(), Settings: plan.Settings}
	for _, f := range r.inputs {
		w.Bytes += f.identity.Bytes
	}
	for _, wave := range r.waves {
		for _, n := range wave.nodes {
			w.Tasks++
			if store.Exists(opt.FS, filepath.Join(n.dir(), reportName)) {
				w.TasksDone++
			}
		}
	}
	if w.Note, err = plan.looseEnd(); err != nil {
		return nil, err
	}
	if w.ExpertGroup, err = plan.groupNote(); err != nil {
		return nil, err
	}
	told, err := r.published()
	if err != nil {
		return nil, err
	}
	for _, s := range r.stageStates() {
		sw := StageWork{Label: s.label, Reused: s.reusable}
		for _, step := range plan.Stages {
			if step.Label() == s.label {
				sw.Settings, sw.Implied, sw.Note = step.Effective, step.Implied, joinNotes(step.note(), told[s.label])
				sw.Note = joinNotes(sw.Note, strings.Join(r.notes[s.label], "; "))
			}
		}
		if s.reusable {
			w.StagesReused++
		}
		w.Stages = append(w.Stages, sw)
	}
	return w, nil
}

// published says, by stage, what earlier runs have published.
func (r *run) published() (map[string]string, error) {
	told := map[string]string{}
	for _, wave := range r.waves {
		for _, n := range wave.nodes {
			if n.publish == nil {
				continue
			}
			text, err := n.publish.Tell(r.opt.FS, r.plan)
			if err != nil {
				return nil, err
			}
			told[n.stage] = text
		}
	}
	return told, nil
}

func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// A Noter is a configuration with something to say before it runs, such as the
// threshold that follows from its numbers.
type Noter interface{ Note() string }

func (s Step) note() string {
	if n, ok := s.Config.(Noter); ok {
		return n.Note()
	}
	return ""
}
