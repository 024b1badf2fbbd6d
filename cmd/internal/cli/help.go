package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/stages"

	"github.com/spf13/cobra"
)

// newHelp replaces cobra's command, which answers unknown topics with success.
func newHelp(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | STAGE | all]",
		Short: "Explain a command, a stage of plans, or all commands",
		Long: `Help explains the program, one of its commands, or a stage as bzdata stages does. With all it prints
the help of every command, one after the other.

` + exitStatus(exitDone, exitUsage),
		RunE: func(cmd *cobra.Command, args []string) error { return explain(env.stdout, cmd.Root(), args) },
	}
}

// explain prints the help of what args name.
func explain(w io.Writer, root *cobra.Command, args []string) error {
	if slices.Equal(args, []string{"all"}) {
		return explainAll(w, root)
	}
	about, rest, err := root.Find(args)
	if err == nil && len(rest) == 0 {
		return about.Help()
	}
	name := args[len(args)-1]
	if k, ok := stages.All().Lookup(name); ok && (len(args) == 1 || args[0] == "stages" && len(args) == 2) {
		return k.WriteReference(w)
	}
	switch {
	case err != nil || about == root:
		return unknownCommand(root, args)
	case about.HasSubCommands():
		return about.ValidateArgs(rest)
	case about.Name() == "stages" && len(args) == 2:
		return unknownStage(name, stages.All().Names())
	}
	return &flagError{errors.New("help wants one COMMAND or STAGE, or all; see bzdata help help")}
}

// explainAll prints the help of every command, those below one behind it.
func explainAll(w io.Writer, root *cobra.Command) error {
	for i, c := range commandsBelow(root) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "# %s\n\n", c.CommandPath())
		if err := c.Help(); err != nil {
			return err
		}
	}
	return nil
}

func commandsBelow(of *cobra.Command) (out []*cobra.Command) {
	for _, c := range of.Commands() {
		out = append(append(out, c), commandsBelow(c)...)
	}
	return out
}

// unknownCommand is the mistake of a first argument that names no command.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	hint := "see bzdata help"
	if s := pipeline.Suggest(args[0], names); s != "" {
		hint = s
	}
	switch _, stage := stages.All().Lookup(args[0]); {
	case stage:
		hint = fmt.Sprintf("it is a stage of plans: see bzdata stages %s", args[0])
	case strings.HasSuffix(args[0], ".yaml") || strings.HasSuffix(args[0], ".yml"):
		hint = fmt.Sprintf("to run a plan: bzdata run %s", args[0])
	}
	return &flagError{fmt.Errorf("unknown command %q; %s", args[0], hint)}
}
