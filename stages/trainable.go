package stages

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// What may be trained, besides patterns of tensor names.
const (
	trainExperts = "experts"
	trainAll     = "all"
)

// trains reports whether the plan gives a word for what is trained.
func (c Train) trains(word string) bool { return len(c.Trainable) == 1 && c.Trainable[0] == word }

// patterns are those of the tensors to train; none if the plan gives a word.
func (c Train) patterns() []string {
	if c.trains(trainExperts) || c.trains(trainAll) {
		return nil
	}
	return c.Trainable
}

// checkTrainable asks for one word or for patterns.
func (c Train) checkTrainable(at *pipeline.Fields) {
	const want = "write experts, all, or a list of patterns of tensor names"
	if len(c.Trainable) == 0 {
		at.Errorf("trainable", "names nothing to train; %s", want)
	}
	for _, p := range c.patterns() {
		switch {
		case p == trainExperts || p == trainAll:
			at.Errorf("trainable", "%s stands alone, not in a list; %s", p, want)
		case !strings.ContainsAny(p, ".*?["):
			at.Unknown("trainable", p, []string{trainExperts, trainAll, "a pattern such as model.layers.*.mlp.experts.3.*"})
		case !validPattern(p):
			at.Errorf("trainable", "%q is no pattern; close its [ or write \\[ for the character", p)
		}
	}
	if !c.trains(trainExperts) && at.IsSet("naming") && c.Naming != checkpoint.Native.String() {
		at.Errorf("naming", "%s names routed experts only; use native to train other weights", c.Naming)
	}
}

func validPattern(p string) bool {
	_, err := path.Match(p, "")
	return !errors.Is(err, path.ErrBadPattern)
}

// readTrainable looks for the tensors that the plan's patterns mean before anything runs.
func (c Train) readTrainable(p *pipeline.Plan) []pipeline.Read {
	patterns := c.patterns()
	if len(patterns) == 0 {
		return nil
	}
	check := func(fsys store.FS, files []string) error {
		shapes, err := shapesOf(fsys, files[0])
		if err != nil {
			return baseError(fmt.Errorf("%s: %w", files[0], err))
		}
		names := make([]string, len(shapes))
		for i, s := range shapes {
			names[i] = s.Name
		}
		return matchAll(patterns, names)
	}
	name := string(p.Network.Base.Model) + "/" + model.ConfigFile
	return []pipeline.Read{{Name: "trainable", Paths: []string{name}, Check: check}}
}

// shapesOf lists the tensors of a model by its configuration.
func shapesOf(fsys store.FS, config string) ([]model.Param, error) {
	data, err := store.ReadAll(fsys, config)
	if err != nil {
		return nil, err
	}
	c, err := model.ParseConfig(data)
	if err != nil {
		return nil, err
	}
	return model.Shapes(c)
}

// matchAll refuses a pattern that none of the names matches.
func matchAll(patterns, names []string) error {
	for _, p := range patterns {
		if !slices.ContainsFunc(names, func(name string) bool { return matches(p, name) }) {
			return &pipeline.UsageError{Msg: fmt.Sprintf("train.trainable: no tensor of the base model matches %q; near it "+
				"are %s", p, strings.Join(nearNames(p, names), ", "))}
		}
	}
	return nil
}

// matches is path.Match: names have no slash, so that * stands for any text.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// nearNames are the first of the names that match the pattern's beginning farthest.
func nearNames(pattern string, names []string) []string {
	const shown = 3
	for end := len(pattern); ; end-- {
		var near []string
		for _, name := range names {
			if len(near) < shown && (end == 0 || matches(pattern[:end]+"*", name)) {
				near = append(near, name)
			}
		}
		if len(near) > 0 || end == 0 {
			return near
		}
	}
}

// trainable tells the tensors to train: by the plan's patterns, those of the group's experts, or all.
func (c Train) trainable(group checkpoint.Assignment) func(name string) bool {
	patterns := c.patterns()
	return func(name string) bool {
		if len(patterns) > 0 {
			return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
		}
		if group == nil {
			return true
		}
		e, ok := checkpoint.Native.Parse(name)
		return ok && slices.ContainsFunc(group[e.Layer], func(p checkpoint.Pair) bool { return p.Org == e.Expert })
	}
}
