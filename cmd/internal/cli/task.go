package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"

	"github.com/spf13/cobra"
)

// taskFlags are the flags of bzdata task.
type taskFlags struct{ base, expect, json string }

func newTask(env *environment) *cobra.Command {
	f := &taskFlags{}
	cmd := &cobra.Command{
		Use:   "task DIR",
		Short: "Check expert groups, and print the hash of their task bundles",
		Long: `Task reads the folder of an expert group, or each group of a folder such as expert_groups, and
checks it: ids, layers, and data, and with --base that it fits the model. It prints the
bundle_sha256 by which Connito's nodes know the task that they train: the SHA-256 of name,
configuration, expert assignment and shard policy as sorted JSON. A policy is read from
shard_policy.json, if it is there. A folder that a node has fetched holds the hash it had then; if
it is another now, that is an error.
Groups that share experts are a warning, for the networks allow it.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: exactly(1, "one DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return f.run(env, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.base, "base", "", "check that the group fits the base model in this `DIR`")
	fl.StringVar(&f.expect, "expect", "", "fail unless the bundle has this `SHA256`, such as the network's active_task names")
	fl.StringVar(&f.json, "json", "", "write the result as JSON to this `FILE` instead; - is standard output")
	return cmd
}

// taskReport is what there is to say of groups.
type taskReport struct {
	Groups   []taskGroup `json:"groups"`
	RunIDs   int         `json:"running_ids"` // over all groups: the experts of a layer of Block Zero's model
	Warnings []string    `json:"warnings"`
}

// taskGroup is a group in a report.
type taskGroup struct {
	Name    string   `json:"name"`
	ID      int      `json:"group_id"`
	Layers  int      `json:"layers"`
	Experts int      `json:"experts"`
	Data    []string `json:"data"`
	Bundle  string   `json:"bundle_sha256"`
	Stamp   string   `json:"bundle_sha256_fetched,omitempty"`
}

func (f *taskFlags) run(env *environment, dir string) error {
	groups, beside, unread, err := readTaskGroups(absolute(dir))
	if err != nil {
		return err
	}
	if err := checkOutput("--json", f.json); err != nil {
		return err
	}
	if f.expect != "" && len(groups) > 1 {
		return &flagError{fmt.Errorf("--expect is the hash of one group; name one of those in %s", dir)}
	}
	if err := f.fits(groups); err != nil {
		return err
	}
	report, err := taskReportOf(groups, beside)
	if err != nil {
		return err
	}
	if unread != "" {
		report.Warnings = append(report.Warnings, unread)
	}
	if f.json != "" {
		err = writeJSON(env, f.json, report.writeJSON)
	} else {
		err = report.writeText(env.stdout)
	}
	return cmp.Or(err, f.faults(report))
}

// foundGroup is a group and where it is.
type foundGroup struct {
	*checkpoint.Group
	dir string
}

// readTaskGroups reads a group, or all groups of a folder, and the groups beside one, or why these
// cannot be read.
func readTaskGroups(dir string) (groups []foundGroup, beside []*checkpoint.Group, unread string, err error) {
	read := func(root string) ([]*checkpoint.Group, error) {
		all, err := checkpoint.LoadGroups(store.OS(), root)
		return all, groupError(err)
	}
	if store.Exists(store.OS(), filepath.Join(dir, checkpoint.GroupConfigFile)) {
		g, err := checkpoint.LoadGroup(store.OS(), dir)
		if err != nil {
			return nil, nil, "", groupError(err)
		}
		if beside, err = read(filepath.Dir(dir)); err != nil {
			beside, unread = []*checkpoint.Group{g}, fmt.Sprintf("the groups beside %s were not compared: %v", g.Name, err)
		}
		return []foundGroup{{g, dir}}, beside, unread, nil
	}
	all, err := read(dir)
	if err == nil && len(all) == 0 {
		msg := fmt.Sprintf("%s: there is no %s, nor a folder with one", dir, checkpoint.GroupConfigFile)
		err = &pipeline.UsageError{Msg: msg}
	}
	for _, g := range all {
		groups = append(groups, foundGroup{g, filepath.Join(dir, g.Name)})
	}
	return groups, all, "", err
}

// groupError tells a folder that is not there from one that is wrong.
func groupError(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return missingIsUsage(err)
	}
	return &pipeline.DataError{Msg: err.Error()}
}

// fits checks the groups against a base model, if one was named.
func (f *taskFlags) fits(groups []foundGroup) error {
	if f.base == "" {
		return nil
	}
	cfg, err := model.ReadConfig(store.OS(), f.base)
	if err != nil {
		return missingIsUsage(err)
	}
	weights, err := checkpoint.OpenDir(store.OS(), f.base)
	if err != nil {
		return missingIsUsage(err)
	}
	defer weights.Close()
	layers := map[int]bool{}
	for _, name := range weights.Names() {
		if e, ok := checkpoint.Native.Parse(name); ok {
			layers[e.Layer] = true
		}
	}
	for _, g := range groups {
		if err := g.Assignment.Validate(slices.Sorted(maps.Keys(layers)), cfg.NRoutedExperts); err != nil {
			return &pipeline.DataError{Msg: fmt.Sprintf("group %s does not fit %s: %v", g.Name, f.base, err)}
		}
	}
	return nil
}

func taskReportOf(groups []foundGroup, beside []*checkpoint.Group) (*taskReport, error) {
	report := &taskReport{Warnings: []string{}}
	for _, g := range groups {
		bundle, err := checkpoint.ReadTaskBundle(store.OS(), g.dir)
		if err != nil {
			return nil, groupError(err)
		}
		report.Groups = append(report.Groups, taskGroup{Name: g.Name, ID: g.Config.GroupID, Layers: len(g.Assignment),
			Experts: g.Assignment.Experts(), Data: datasets(g.Config.Data), Bundle: bundle.SHA256, Stamp: bundle.Stamp})
	}
	if len(groups) == 1 {
		report.Warnings = overlapsOf(groups[0].Group, beside)
	} else {
		for _, o := range checkpoint.Overlaps(beside) {
			report.Warnings = append(report.Warnings, o.String())
		}
	}
	ids := map[int]bool{}
	for _, g := range beside {
		for _, pairs := range g.Assignment {
			for _, p := range pairs {
				ids[p.My] = true
			}
		}
	}
	report.RunIDs = len(ids)
	return report, nil
}

// datasets are a group's data sets, in words.
func datasets(d checkpoint.GroupData) []string {
	out := []string{}
	if d.DatasetName != "" {
		out = append(out, d.DatasetName)
	}
	for _, s := range d.DatasetSources {
		text := s.Path
		if s.Name != "" {
			text += " " + s.Name
		}
		out = append(out, fmt.Sprintf("%s (weight %g)", text, s.Weight))
	}
	return out
}

// faults says that a hash is not what it should be.
func (f *taskFlags) faults(r *taskReport) error {
	for _, g := range r.Groups {
		msg := ""
		switch {
		case f.expect != "" && g.Bundle != f.expect:
			msg = "the bundle is another than --expect says; fetch the task again"
		case g.Stamp != "" && g.Stamp != g.Bundle:
			msg = fmt.Sprintf("%s says that the task had the hash %.12s… when it was fetched; its files were changed since, "+
				"fetch it again", checkpoint.BundleStampFile, g.Stamp)
		}
		if msg != "" {
			return &pipeline.DataError{Msg: "group " + g.Name + ": " + msg}
		}
	}
	return nil
}

func (r *taskReport) writeText(w io.Writer) error {
	for _, g := range r.Groups {
		fmt.Fprintf(w, "%s: group %d, %d experts in %d layers\n", g.Name, g.ID, g.Experts, g.Layers)
		for _, d := range g.Data {
			fmt.Fprintf(w, "  data           %s\n", d)
		}
		fmt.Fprintf(w, "  bundle_sha256  %s\n", g.Bundle)
	}
	if len(r.Groups) > 1 {
		fmt.Fprintf(w, "%d running ids over all groups\n", r.RunIDs)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	return nil
}

func (r *taskReport) writeJSON(w io.Writer) error {
	return indented(r)(w)
}
