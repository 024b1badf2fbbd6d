package pipeline

import (
	"context"
	"fmt"
	"reflect"
	"slices"
)

// A variant is a plan with something left out or set otherwise, to find out what that was good for. Its tasks
// have the keys that they have in the plan itself as far as they do the same, so that runs in
// one work directory share them. The held-out set stays the plan's own to the last document:
// it is chosen before any stage, and the references of all stages, also of those left out, are
// kept out of it. A variant publishes nothing.

// leaveOutStage drops the documents of a source, in a variant only.
const leaveOutStage = "leave_out"

// A Sourced is a configuration that names sources. Without returns it with one source less; an
// error says why there is no such configuration.
type Sourced interface {
	Without(source string) (any, error)
}

// leaveOut is the configuration of the stage that a variant without a source begins with.
type leaveOut struct {
	Source string `yaml:"source" doc:"Source that is left out."`
}

func leaveOutKind() Kind {
	return Spec[leaveOut]{
		Name: leaveOutStage, Version: 1, Summary: "Drops the documents of one source.",
		Takes: []Data{Documents}, Makes: []Data{Documents},
		New: func(c leaveOut) (Program, error) {
			open := func(context.Context, *Task) (Mapper, error) {
				return MapFunc(func(d *Doc, out *Out) error {
					if d.Source == c.Source {
						out.Drop("left_out", 1)
					}
					return nil
				}), nil
			}
			return Program{Passes: []Pass{{Open: open}}}, nil
		},
	}.Kind()
}

// UpTo returns the variant that has, of the plan's stages, the one of a label, what it needs, and
// the stages before it that edit or drop documents. What is behind it, and what is written or
// uploaded on the way, is left out.
func (p *Plan) UpTo(label string) (*Plan, error) {
	v := p.variant()
	last := slices.IndexFunc(v.Stages, func(s Step) bool { return s.Label() == label })
	if last < 0 {
		return nil, fmt.Errorf("the plan has no stage %s", label)
	}
	v.Stages = v.Stages[:last+1]
	needed, kept := map[Data]bool{}, []Step(nil)
	for i := last; i >= 0; i-- {
		s := v.Stages[i]
		use := i == last || slices.Contains(s.Kind.Makes, Documents)
		for _, d := range s.Kind.Makes {
			use = use || needed[d]
		}
		if !use {
			continue
		}
		program, err := s.Program()
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.Label(), err)
		}
		uses := s.Kind.Takes
		if program.Uses != nil {
			uses = append(slices.Clone(uses), program.Uses(p)...)
		}
		for _, d := range s.Kind.Makes {
			if d != Documents {
				delete(needed, d)
			}
		}
		for _, d := range uses {
			needed[d] = true
		}
		kept = append(kept, s)
	}
	slices.Reverse(kept)
	v.Stages = kept
	return v, nil
}

// Without returns the variant without the stage of a label. It is a [*UsageError] if a later stage
// needs what that one makes.
func (p *Plan) Without(label string) (*Plan, error) {
	v := p.variant()
	at := slices.IndexFunc(v.Stages, func(s Step) bool { return s.Label() == label })
	if at < 0 {
		return nil, fmt.Errorf("the plan has no stage %s", label)
	}
	v.Stages = slices.Delete(v.Stages, at, at+1)
	for i, s := range v.Stages {
		for _, d := range s.Kind.Takes {
			if _, ok := v.From(i, d); !ok {
				return nil, &UsageError{Msg: fmt.Sprintf("stage %s takes %s, which only %s makes", s.Label(), d, label)}
			}
		}
	}
	return v, nil
}

// WithoutSource returns the variant whose training text has no document of a source. What the
// plan holds out of that source stays held out.
func (p *Plan) WithoutSource(source string) (*Plan, error) {
	v := p.variant()
	for i := range v.Stages {
		s := &v.Stages[i]
		c, ok := s.Config.(Sourced)
		if !ok {
			continue
		}
		config, err := c.Without(source)
		if err != nil {
			return nil, &UsageError{Msg: fmt.Sprintf("stage %s: %v", s.Label(), err)}
		}
		s.Config = config
	}
	first := Step{Kind: leaveOutKind(), ID: v.freeID(leaveOutStage), Config: leaveOut{source}, Implied: true, plan: v}
	v.Stages = slices.Insert(v.Stages, 0, first)
	return v, nil
}

// Reseeded returns the variant whose stage of a label makes its random choices by the nth other
// seed; 0 is the plan's own.
func (p *Plan) Reseeded(label string, n uint64) (*Plan, error) {
	v := p.variant()
	at := slices.IndexFunc(v.Stages, func(s Step) bool { return s.Label() == label })
	if at < 0 {
		return nil, fmt.Errorf("the plan has no stage %s", label)
	}
	v.Stages[at].reseed = n
	return v, nil
}

// Configured returns the variant whose stage of a label has the configuration that change makes of its own, a
// value of the same type. The plan's checks of configurations are the caller's to keep.
func (p *Plan) Configured(label string, change func(config any) any) (*Plan, error) {
	v := p.variant()
	at := slices.IndexFunc(v.Stages, func(s Step) bool { return s.Label() == label })
	if at < 0 {
		return nil, fmt.Errorf("the plan has no stage %s", label)
	}
	s := &v.Stages[at]
	s.Config = change(s.Config)
	values, _ := canonical(reflect.ValueOf(s.Config)).(map[string]any)
	s.Effective = slices.Clone(s.Effective)
	for i, e := range s.Effective {
		if value, ok := values[e.Key]; ok && !reflect.DeepEqual(value, e.Value) {
			s.Effective[i] = Setting{Key: e.Key, Value: value, Origin: fromVariant}
		}
	}
	return v, nil
}

// variant is a copy of the plan that knows the stages whose references the held-out set avoids.
func (p *Plan) variant() *Plan {
	v := *p
	v.Stages = slices.Clone(p.Stages)
	for i := range v.Stages {
		v.Stages[i].plan = &v
	}
	if v.of == nil {
		v.of = p
	}
	return &v
}

// whole is the plan that a variant is of, or the plan itself.
func (p *Plan) whole() *Plan {
	if p.of != nil {
		return p.of
	}
	return p
}

// seed is what the step's random choices go by, under a plan of the given seed.
func (s *Step) seed(plan uint64) uint64 {
	if s.reseed == 0 {
		return plan
	}
	return HashID(plan, "reseed", "", "", s.reseed)
}
