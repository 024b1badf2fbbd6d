package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/stages"

	"github.com/spf13/cobra"
)

func newCheck(env *environment) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "check PLAN",
		Short: "Find every mistake in a plan, and say what a run would do",
		Long: `Check reads a plan and reports every mistake with its line. If there is none, it lists the
settings in force with their origin, the files that are read, and which stages are done already.
It looks at the first records of each input, and writes nothing.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: exactly(1, "one PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.check(cmd.Context(), env, args[0]) },
	}
	f.addWork(cmd.Flags())
	cmd.Flags().StringVar(&f.json, "json", "", "write the answer as JSON to this `FILE`; - is standard output")
	return cmd
}

func (f *runFlags) check(ctx context.Context, env *environment, file string) error {
	plan, opt, err := f.load(ctx, file)
	if err != nil {
		return err
	}
	defer f.inputs.Close() // nothing is kept of what check has read
	work, err := pipeline.Outlook(plan, opt)
	if err == nil {
		err = pipeline.Peek(plan, opt)
	}
	if err == nil {
		err = noteStarved(plan, f.inputs, work)
	}
	if err != nil {
		return pipeline.AsDataError(opt.Workdir, err)
	}
	if f.json != "" {
		return writeJSON(env, f.json, work.WriteJSON)
	}
	out := bufio.NewWriter(env.stdout)
	writeWork(out, plan, work)
	return out.Flush()
}

// noteStarved warns of stages that starve what the plan's validators weigh.
func noteStarved(plan *pipeline.Plan, fsys store.FS, work *pipeline.Work) error {
	said, err := stages.Starved(plan, fsys, nil)
	for i := range work.Stages {
		s := &work.Stages[i]
		for _, text := range said[s.Label] {
			s.Note = strings.TrimPrefix(s.Note+"; warning: "+text, "; ")
		}
	}
	return err
}

func writeWork(w io.Writer, plan *pipeline.Plan, work *pipeline.Work) {
	done := "nothing is done yet"
	if work.TasksDone > 0 {
		done = fmt.Sprintf("%d of %d stages and %d of %d tasks are done",
			work.StagesReused, len(work.Stages), work.TasksDone, work.Tasks)
	}
	rows := [][2]string{
		{"plan", plan.File + ": no mistakes"},
		{"workdir", work.Workdir},
		{"input", plural(work.Files, "file") + ", " + report.Size(work.Bytes)},
		{"memory", "up to " + report.Size(work.MemoryBytes)},
		{"disk", diskNote(work)},
		{"work", plural(len(work.Stages), "stage") + " in " + plural(work.Tasks, "task") + "; " + done},
	}
	if plan.NetworkOrigin != "" {
		rows = append(rows, [2]string{"network", plan.NetworkOrigin})
	}
	if work.ExpertGroup != "" {
		rows = append(rows, [2]string{"group", work.ExpertGroup})
	}
	if work.Note != "" {
		rows = append(rows, [2]string{"note", work.Note})
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%-8s  %s\n", r[0], r[1])
	}
	key, value := columns(plan, work)
	fmt.Fprintf(w, "\nplan:\n")
	writeSettings(w, inForce(plan.Settings), key, value)
	for _, s := range work.Stages {
		writeStageWork(w, s, key, value)
	}
}

// diskNote says what a run is expected to write, and whether there is room for it.
func diskNote(work *pipeline.Work) string {
	note := "about " + report.Size(work.Scratch.Bytes) + " will be written"
	switch {
	case work.Free < 0:
	case work.Missing() > 0:
		note += "; only " + report.Size(work.Free) + " are free: " + report.Size(work.Missing()) + " are missing"
	default:
		note += "; " + report.Size(work.Free) + " are free"
	}
	return note
}

func writeStageWork(w io.Writer, s pipeline.StageWork, key, value int) {
	state := "to do"
	if s.Reused {
		state = "done"
	}
	if s.Implied {
		state += ", added because " + report.WhyImplied(s.Label)
	}
	fmt.Fprintf(w, "\n%s: %s\n", s.Label, state)
	writeSettings(w, s.Settings, key, value)
	if s.Note != "" {
		fmt.Fprintf(w, "  %s\n", s.Note)
	}
}

// valueWidth is how much of a setting's value check shows.
const valueWidth = 48

func writeSettings(w io.Writer, settings []pipeline.Setting, key, value int) {
	for _, s := range settings {
		fmt.Fprintf(w, "  %-*s  %-*s  %s\n", key, s.Key, value, report.Value(s.Value, valueWidth), s.Origin)
	}
}

// inForce leaves out the settings of a plan's sections that nobody has set and that
// have no default.
func inForce(settings []pipeline.Setting) []pipeline.Setting {
	return slices.DeleteFunc(slices.Clone(settings), func(s pipeline.Setting) bool {
		v := reflect.ValueOf(s.Value)
		return s.Origin == "default" && (!v.IsValid() || v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0)
	})
}

// columns are the widths of keys and values over all sections.
func columns(plan *pipeline.Plan, work *pipeline.Work) (key, value int) {
	all := inForce(plan.Settings)
	for _, s := range work.Stages {
		all = append(all, s.Settings...)
	}
	for _, s := range all {
		key = max(key, utf8.RuneCountInString(s.Key))
		value = max(value, utf8.RuneCountInString(report.Value(s.Value, valueWidth)))
	}
	return key, value
}

// plural counts things.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return report.Count(int64(n), " ") + " " + thing
}

func newStages(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "stages [NAME]",
		Short: "List the stages, or explain one",
		Long: `Stages lists the stages that a plan may use; with a name, it prints that stage's reference.

` + exitStatus(exitDone, exitUsage),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &flagError{errors.New("stages wants at most one NAME; see bzdata stages --help")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			reg := stages.All()
			if len(args) == 0 {
				for _, k := range reg.Kinds() {
					fmt.Fprintf(env.stdout, "%-16s %s\n", k.Name, k.Summary)
				}
				return nil
			}
			k, ok := reg.Lookup(args[0])
			if !ok {
				return unknownStage(args[0], reg.Names())
			}
			return k.WriteReference(env.stdout)
		},
	}
}

func unknownStage(name string, names []string) error {
	hint := cmp.Or(pipeline.Suggest(name, names), "bzdata stages lists them")
	return &flagError{fmt.Errorf("unknown stage %q; %s", name, hint)}
}

func newSchema(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of plans, for editors",
		Long: `Schema prints a JSON Schema (2020-12) of plan files, for completion and checks in editors.

` + exitStatus(exitDone, exitUsage),
		Args: exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			data, err := stages.All().Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.stdout, "%s\n", data)
			return err
		},
	}
}

func newVersion(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this build",
		Long: `Version prints the build's revision, the Go release, and the kernels of this processor.

` + exitStatus(exitDone, exitUsage),
		Args: exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(env.stdout, versionLine())
			return err
		},
	}
}
