package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"

	"github.com/spf13/pflag"
)

// writeGroupFlags are the flags of bzdata route that write an expert group.
type writeGroupFlags struct {
	dir, dataset string
	id           int
	sources      []string
}

func (f *writeGroupFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.dir, "write-group", "", "write the experts as a new group in this `DIR`, such as expert_groups/exp_law")
	fs.IntVar(&f.id, "group-id", -1, "`N` by which the network knows the group that is written")
	fs.StringVar(&f.dataset, "dataset-name", "", "the group's one data set, a `NAME` such as OWNER/NAME of the hub (Block Zero)")
	fs.StringArrayVar(&f.sources, "dataset-source", nil,
		"one of the group's data sets, `PATH[,KEY=VALUE…]` with the keys name, weight, text_column, text_template, split and "+
			"revision; may be given again (Connito)")
}

// check finds mistakes of the flags.
func (f *writeGroupFlags) check(of *routeFlags) error {
	if f.dir == "" {
		if f.id >= 0 || f.dataset != "" || len(f.sources) > 0 {
			return errors.New("--group-id, --dataset-name and --dataset-source go with --write-group")
		}
		return nil
	}
	_, err := f.data(of)
	switch {
	case f.id < 0:
		return errors.New("--write-group needs the group's number; add --group-id N")
	case f.dataset != "" && len(f.sources) > 0:
		return errors.New("--dataset-name and --dataset-source both say what the group's data is; keep one of them")
	case f.dataset == "" && len(f.sources) == 0 && of.model == "":
		return errors.New("--write-group does not know the group's data; add --dataset-source OWNER/NAME")
	case err != nil:
		return err
	}
	return checkpoint.CheckGroupName(filepath.Base(absolute(f.dir)))
}

// data is what the group's config.yaml says of its data.
func (f *writeGroupFlags) data(of *routeFlags) (stages.GroupSources, error) {
	s := stages.GroupSources{Data: checkpoint.GroupData{DatasetName: f.dataset}}
	for _, text := range f.sources {
		source, err := parseSource(text)
		if err != nil {
			return s, fmt.Errorf("--dataset-source %s: %w", text, err)
		}
		s.Data.DatasetSources = append(s.Data.DatasetSources, source)
	}
	if f.dataset == "" && len(f.sources) == 0 {
		in := pipeline.Input{Paths: of.inputs, Text: of.text, Template: of.template, Messages: of.conv}
		if in.Text+in.Template+in.Messages == "" {
			in.Text = "text"
		}
		s = stages.InputSources([]pipeline.Input{in})
	}
	s.Data.SequenceLength = of.length
	return s, nil
}

// parseSource reads PATH[,KEY=VALUE…].
func parseSource(text string) (checkpoint.DatasetSource, error) {
	path, rest, more := strings.Cut(text, ",")
	s := checkpoint.DatasetSource{Path: path, Weight: 1}
	if path == "" || strings.Contains(path, "=") {
		return s, errors.New("begins with the path of a data set, such as allenai/c4,name=en,weight=0.5")
	}
	fields := map[string]*string{"name": &s.Name, "text_column": &s.TextColumn, "text_template": &s.TextTemplate,
		"split": &s.Split, "revision": &s.Revision}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		key, value, _ := strings.Cut(part, "=")
		switch {
		case value == "" || key != "weight" && fields[key] == nil:
			return s, fmt.Errorf("%q is none of name=, weight=, text_column=, text_template=, split= and revision= with a value",
				part)
		case key != "weight":
			*fields[key] = value
			continue
		}
		weight, err := strconv.ParseFloat(value, 64)
		if err != nil || !(weight > 0 && weight <= 1e9) {
			return s, fmt.Errorf("weight %q is no number above 0", value)
		}
		s.Weight = weight
	}
	return s, nil
}

// writtenGroup is what was written.
type writtenGroup struct {
	Dir      string   `json:"dir"`
	ID       int      `json:"group_id"`
	Experts  int      `json:"experts"`
	Bundle   string   `json:"bundle_sha256"`
	Warnings []string `json:"warnings"`
}

// group writes the group, if one was asked for, and reads it back.
func (f *writeGroupFlags) group(of *routeFlags, chosen *routing.Config) (*writtenGroup, error) {
	if f.dir == "" {
		return nil, nil
	}
	data, err := f.data(of)
	if err != nil {
		return nil, err
	}
	dir := absolute(f.dir)
	group := stages.NewGroup(filepath.Base(dir), f.id, of.firstID, chosen, data)
	added, all, err := group.Add(store.OS(), filepath.Dir(dir), data.Messages)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: err.Error(), Err: err}
	}
	bundle, err := checkpoint.ReadTaskBundle(store.OS(), dir)
	if err != nil {
		return nil, err
	}
	w := &writtenGroup{Dir: f.dir, ID: added.Config.GroupID, Experts: added.Assignment.Experts(), Bundle: bundle.SHA256,
		Warnings: append(overlapsOf(added, all), data.Warnings...)}
	return w, nil
}

// overlapsOf says which of all groups share experts with one of them.
func overlapsOf(group *checkpoint.Group, all []*checkpoint.Group) []string {
	warnings := []string{}
	for _, other := range all {
		if other.Name == group.Name {
			continue
		}
		for _, o := range checkpoint.OverlapsWith(group, []*checkpoint.Group{other}) {
			warnings = append(warnings, o.String())
		}
	}
	return warnings
}

func (g *writtenGroup) writeText(w io.Writer) {
	fmt.Fprintf(w, "wrote %s: group %d of %d experts\nbundle_sha256  %s\n", g.Dir, g.ID, g.Experts, g.Bundle)
	for _, warning := range g.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
}
