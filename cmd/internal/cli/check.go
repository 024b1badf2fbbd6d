package cli

import (
	"fmt"
	"io"

	"bzdata/pipeline"
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

` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: exactly(1, "one PLAN"),
		RunE: func(_ *cobra.Command, args []string) error { return f.check(env, args[0]) },
	}
	f.addRun(cmd.Flags())
	return cmd
}

func (f *runFlags) check(env *environment, file string) error {
	plan, err := f.load(file)
	if err != nil {
		return err
	}
	opt, err := f.options(plan)
	if err != nil {
		return err
	}
	work, err := pipeline.Outlook(plan, opt)
	if err != nil {
		return err
	}
	if f.json != "" {
		return writeJSON(env, f.json, work.WriteJSON)
	}
	return writeWork(env.stdout, plan, work)
}

func writeWork(w io.Writer, plan *pipeline.Plan, work *pipeline.Work) error {
	fmt.Fprintf(w, "plan      %s: no mistakes\n", plan.Name)
	fmt.Fprintf(w, "workdir   %s\n", work.Workdir)
	fmt.Fprintf(w, "input     %d files, %s bytes\n", work.Files, count(float64(work.Bytes)))
	fmt.Fprintf(w, "memory    budget %s bytes\n", count(float64(work.MemoryBytes)))
	if plan.NetworkOrigin != "" {
		fmt.Fprintf(w, "network   %s\n", plan.NetworkOrigin)
	}
	fmt.Fprintf(w, "tasks     %d, of which %d are done; reused %d of %d stages\n\n",
		work.Tasks, work.TasksDone, work.StagesReused, len(work.Stages))
	for _, s := range work.Stages {
		state := "to do"
		if s.Reused {
			state = "done"
		}
		fmt.Fprintf(w, "  %-16s %s%s\n", s.Label, state, map[bool]string{true: ", added because the plan has held-out text"}[s.Implied])
		for _, set := range s.Settings {
			fmt.Fprintf(w, "    %-24s %-20v %s\n", set.Key, set.Value, set.Origin)
		}
		if s.Note != "" {
			fmt.Fprintf(w, "    %s\n", s.Note)
		}
	}
	return nil
}

func newStages(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "stages [NAME]",
		Short: "List the stages, or explain one",
		Long:  "Stages lists the stages that a plan may use; with a name, it prints that stage's reference.\n\n" + exitStatus(exitDone, exitUsage),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &flagError{fmt.Errorf("bzdata stages wants at most one NAME")}
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
				return &pipeline.UsageError{Msg: fmt.Sprintf("unknown stage %q%s", args[0], pipeline.Suggest(args[0], reg.Names()))}
			}
			return k.WriteReference(env.stdout)
		},
	}
}

func newSchema(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of plans, for editors",
		Long:  "Schema prints a JSON Schema (2020-12) of plan files, for completion and checks in editors.\n\n" + exitStatus(exitDone),
		Args:  exactly(0, "no arguments"),
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
		Long:  "Version prints the build's revision, the Go release, and the kernels of this processor.\n\n" + exitStatus(exitDone),
		Args:  exactly(0, "no arguments"),
		RunE:  func(*cobra.Command, []string) error { return writeVersion(env.stdout) },
	}
}
