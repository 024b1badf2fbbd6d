package stages

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// RouteGroup is the part of the route stage that says which expert group is written.
type RouteGroup struct {
	Name    string        `yaml:"name" required:"true" doc:"Name of the group and its folder, such as exp_law: letters, digits and _."`
	GroupID *int          `yaml:"group_id" required:"true" min:"0" doc:"Number of the group; no group of network.expert_groups may have it."`
	FirstID int           `yaml:"first_id" min:"-1" doc:"First running id of each layer's experts; -1 for the base model's own ids."`
	Dataset string        `yaml:"dataset_name" doc:"The one data set of the group, as Block Zero names it."`
	Sources []RouteSource `yaml:"dataset_sources" doc:"The weighted data sets of the group, as Connito lists them. Default: the plan's inputs, in equal shares."`
}

// RouteSource is one data set of a group that is written.
type RouteSource struct {
	Path         string  `yaml:"path" required:"true" doc:"Data set of the Hugging Face hub, OWNER/NAME."`
	Name         string  `yaml:"name" doc:"Configuration of the data set."`
	Weight       float64 `yaml:"weight" min:"0" doc:"Share of the rows; shares are scaled to sum to 1."`
	TextColumn   string  `yaml:"text_column" doc:"Column that holds the text."`
	TextTemplate string  `yaml:"text_template" doc:"Template that makes the text, in place of a column."`
	Split        string  `yaml:"split" doc:"Split of the data set."`
	Revision     string  `yaml:"revision" doc:"Commit of the data set."`
}

// SetDefaults gives sources equal shares.
func (s *RouteSource) SetDefaults() { s.Weight = 1 }

// Check asks for a name that the networks can import, and for one way to the data.
func (g *RouteGroup) Check(at *pipeline.Fields) {
	if err := checkpoint.CheckGroupName(g.Name); err != nil {
		at.Errorf("name", "%v", err)
	}
	for i, s := range g.Sources {
		if !(s.Weight > 0) {
			at.Errorf(fmt.Sprintf("dataset_sources[%d].weight", i), "the networks want a weight above 0; leave the source out")
		}
	}
	if g.Dataset != "" && len(g.Sources) > 0 {
		at.Errorf("dataset_name", "dataset_sources lists the data already; keep one of them")
	}
}

// GroupSources is the data of an expert group, as its config.yaml and dataset.py name it.
type GroupSources struct {
	Data     checkpoint.GroupData
	Messages bool     // rows are conversations
	Warnings []string // what a validator could not make of it
}

// sources are the group's data sources: those given, or the plan's inputs.
func (g *RouteGroup) sources(p *pipeline.Plan) GroupSources {
	if g.Dataset == "" && len(g.Sources) == 0 {
		return InputSources(p.Input)
	}
	s := GroupSources{Data: checkpoint.GroupData{DatasetName: g.Dataset}}
	for _, x := range g.Sources {
		s.Data.DatasetSources = append(s.Data.DatasetSources, checkpoint.DatasetSource{Path: x.Path, Name: x.Name,
			Weight: x.Weight, TextColumn: x.TextColumn, TextTemplate: x.TextTemplate, Split: x.Split, Revision: x.Revision})
	}
	return s
}

// InputSources describes a plan's inputs as the data of an expert group, in equal shares: data sets
// of the hub by owner and name, other files by their path as the plan has it. A plan's template is
// left out, for the networks' templates are another language.
func InputSources(inputs []pipeline.Input) GroupSources {
	var s GroupSources
	var local []string
	templates := false
	for _, in := range inputs {
		s.Messages, templates = s.Messages || in.Messages != "", templates || in.Template != ""
		for _, path := range in.Paths {
			source := checkpoint.DatasetSource{Path: path, Weight: 1, TextColumn: in.Text, Split: "train"}
			if at, err := store.ParseLocation(path); err == nil && at.Scheme == "hf" {
				source.Path, source.Revision = at.Root, at.Revision
			} else {
				local = append(local, path)
			}
			s.Data.DatasetSources = append(s.Data.DatasetSources, source)
		}
	}
	if len(local) > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the group's config.yaml names %s, which only this machine can read: "+
			"name data sets of the hub as its sources", strings.Join(local[:min(3, len(local))], ", ")))
	}
	if templates {
		s.Warnings = append(s.Warnings, "the text is made by a template, which the group's config.yaml does not have: "+
			"name sources with the network's own text_template, or with a text_column")
	}
	return s
}

// scaled gives sources the same shares with a sum of 1, as the networks want them.
func scaled(sources []checkpoint.DatasetSource) []checkpoint.DatasetSource {
	sum := 0.0
	for _, s := range sources {
		sum += s.Weight
	}
	out := slices.Clone(sources)
	for i := range out {
		if math.Abs(sum-1) > 1e-12 {
			out[i].Weight /= sum
		}
	}
	return out
}

// NewGroup makes a group of chosen experts and its data.
func NewGroup(name string, id, firstID int, chosen *routing.Config, s GroupSources) *checkpoint.Group {
	if s.Messages {
		s.Data.DatasetClass = checkpoint.DatasetClass(name)
	}
	s.Data.DatasetSources = scaled(s.Data.DatasetSources)
	return &checkpoint.Group{Name: name, Assignment: chosen.Assignment(firstID),
		Config: checkpoint.GroupConfig{GroupID: id, ExpertGroupName: name, Data: s.Data}}
}

// write writes the group under out/routing, reads it back, and says what a miner should know.
func (g *RouteGroup) write(t *pipeline.Task, chosen *routing.Config, others []*checkpoint.Group, sequenceLength int) error {
	from := g.sources(t.Plan)
	from.Data.SequenceLength = sequenceLength
	group := NewGroup(g.Name, *g.GroupID, g.FirstID, chosen, from)
	for _, other := range others {
		if other.Config.GroupID == *g.GroupID {
			return &pipeline.UsageError{Msg: fmt.Sprintf("route.write_group.group_id: group %s of %s has the number %d "+
				"already; choose another", other.Name, t.Plan.Network.ExpertGroups, *g.GroupID)}
		}
	}
	folder := "routing/" + g.Name
	for name, content := range map[string][]byte{
		checkpoint.GroupConfigFile:     group.Config.Encode(),
		checkpoint.GroupAssignmentFile: group.Assignment.Encode(),
		checkpoint.GroupDatasetFile:    checkpoint.DatasetModule(g.Name, from.Messages),
	} {
		if err := writeRouting(t, folder+"/"+name, content); err != nil {
			return err
		}
	}
	for _, warning := range from.Warnings {
		t.Note("%s", warning)
	}
	return reportGroup(t, group, others, filepath.Join(t.OutputDir(), filepath.FromSlash(folder)))
}

func reportGroup(t *pipeline.Task, group *checkpoint.Group, others []*checkpoint.Group, dir string) error {
	back, err := checkpoint.LoadGroup(t.FS, dir)
	if err == nil && !bytes.Equal(back.Assignment.Encode(), group.Assignment.Encode()) {
		err = fmt.Errorf("the group %s was not read back as it was written", group.Name)
	}
	if err != nil {
		return err
	}
	bundle, err := checkpoint.ReadTaskBundle(t.FS, dir)
	if err != nil {
		return err
	}
	t.Figure("group written", "out/routing/%s, group %d, %d experts, bundle_sha256 %s", group.Name, group.Config.GroupID,
		group.Assignment.Experts(), bundle.SHA256)
	for _, o := range checkpoint.OverlapsWith(group, others) {
		t.Note("%s", o)
	}
	return nil
}
