package pipeline

import (
	"cmp"
	"context"
	"fmt"
)

// publication notes what a stage will publish, and looks at the place.
func (b *builder) publication(step *Step, barrier *Barrier) (*Publication, error) {
	if barrier.Publish == nil {
		return nil, nil
	}
	p := barrier.Publish()
	place := p.Place(b.plan)
	if other := b.owners[place]; other != "" {
		return nil, &UsageError{Msg: fmt.Sprintf("%s:%d: stages %s and %s both publish to %s; "+
			"give one of them a folder of its own", b.plan.File, step.Line, other, step.Label(), place)}
	}
	b.owners[place] = step.Label()
	if b.mayEmpty == nil {
		b.mayEmpty = map[string]bool{}
	}
	b.mayEmpty[step.Label()] = true
	return &p, p.Check(b.opt.FS, b.plan, step)
}

// publish is the last step of a run: only what passed every stage and alarm is there for other
// plans. It goes through all stages again after a crash; what is there already stays.
func (r *run) publish(ctx context.Context) error {
	for _, w := range r.waves {
		for _, n := range w.nodes {
			if n.publish == nil {
				continue
			}
			if why := r.partly(); why != "" {
				r.note(n.stage, "the index of later runs is left as it is: "+why)
				continue
			}
			t := n.task(n.dir())
			t.Report = n.report
			if err := cmp.Or(ctx.Err(), lockLost(ctx)); err != nil {
				return err
			}
			if err := n.publish.Put(t); err != nil {
				return n.wrap(err)
			}
		}
	}
	return nil
}

// conclude tells the stages of a run that has come to the end of its plan.
func (r *run) conclude() {
	if r.partly() != "" {
		return
	}
	for _, w := range r.waves {
		for _, n := range w.nodes {
			if n.concluded == nil {
				continue
			}
			t := n.task(n.dir())
			t.Report = n.report
			if err := n.concluded(t); err != nil {
				r.note(n.stage, fmt.Sprintf("the run is complete, but later ones will not go on from it: %v", err))
			}
		}
	}
}

// partly says why what a run kept is not all that the plan keeps, if so.
func (r *run) partly() string {
	if r.plan.of != nil {
		return "the run is that of a variant of the plan"
	}
	if r.opt.Limit > 0 {
		return "the run read only a part of the input, as --limit says"
	}
	if last := r.plan.Stages[len(r.plan.Stages)-1]; r.opt.Until != "" && r.opt.Until != last.Label() {
		return "the run ended before the plan's last stage, as --until says"
	}
	return ""
}

// note adds a note about the run to a stage's part of the report, and tells of it.
func (r *run) note(stage, text string) {
	r.keepNote(stage, text)
	r.tell(stage, text)
}

// keepNote adds a note that is told when the run begins: before, there is no work directory.
func (r *run) keepNote(stage, text string) {
	if r.notes == nil {
		r.notes = map[string][]string{}
	}
	r.notes[stage] = append(r.notes[stage], text)
}

func (r *run) tell(stage, text string) {
	r.event(Event{Kind: "note", Stage: stage, Note: fmt.Sprintf("%s: %s", stage, text)})
}
