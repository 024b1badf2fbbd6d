package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"bzdata/pipeline"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// group is a part of the list of commands, as help shows it.
type group struct {
	title    string
	commands []*cobra.Command
}

// commands are all commands, in the order of help.
func commands(env *environment) []group {
	return []group{
		{"Commands", []*cobra.Command{newRun(env), newCycle(env), newCheck(env), newWhy(env), newReport(env),
			newVerify(env), newDoctor(env)}},
		{"More", []*cobra.Command{newTrain(env), newAblate(env), newMirror(env), newEval(env),
			newRoute(env), newTokenize(env), newTask(env), newHash(env), newSample(env),
			newStages(env), newSchema(env), newVersion(env), newHelp(env)}},
	}
}

func newRoot(env *environment) *cobra.Command {
	groups := commands(env)
	root := &cobra.Command{
		Use:   "bzdata",
		Short: "Turn raw text into a better score",
		Long: `bzdata curates text for training: it cleans, deduplicates and filters Parquet and JSONL by a
YAML plan, finds the experts of a mixture-of-experts model that the data activates, trains
them, and checks on held-out text whether the update lowers the loss.`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
	}
	// Not cobra's Version, which would be found out, and may need the whole program file, by every command.
	version := root.Flags().BoolP("version", "v", false, "show the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *version {
			_, err := fmt.Fprintln(env.stdout, versionLine())
			return err
		}
		return cmd.Help()
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &flagError{flagMistake(cmd, err)} })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if cmd.HasParent() {
			writeHelp(env.stdout, cmd)
		} else {
			writeRootHelp(env.stdout, cmd, groups)
		}
	})
	for _, g := range groups {
		for _, c := range g.commands {
			c.DisableFlagsInUseLine = true
			c.Flags().BoolP("help", "h", false, "show this help")
			if c.Name() == "help" {
				root.SetHelpCommand(c)
			}
			root.AddCommand(c)
		}
	}
	return root
}

func writeRootHelp(w io.Writer, root *cobra.Command, groups []group) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  bzdata COMMAND [flags]\n", root.Long)
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s:\n", g.title)
		for _, c := range g.commands {
			fmt.Fprintf(w, "  %-8s  %s\n", c.Name(), c.Short)
		}
	}
	fmt.Fprintf(w, "\nbzdata COMMAND --help explains a command with its flags and exit codes.\n")
}

// writeHelp writes the help of one command; it ends with the exit codes.
func writeHelp(w io.Writer, cmd *cobra.Command) {
	flags := cmd.LocalFlags()
	use := cmd.UseLine()
	if flags.HasAvailableFlags() && cmd.Name() != "help" {
		use += " [flags]"
	}
	about, codes, _ := strings.Cut(cmd.Long, exitsTitle)
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimRight(about, "\n"), use)
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flags.FlagUsagesWrapped(100))
	}
	fmt.Fprintf(w, "\n%s%s", exitsTitle, codes)
}

// exactly is cobra.ExactArgs with an error that ends in exit code 2.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return &flagError{fmt.Errorf("%s wants %s; see bzdata %s --help", cmd.Name(), what, cmd.Name())}
		}
		return nil
	}
}

// flagMistake says what is wrong with a flag in the program's own words.
func flagMistake(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	see := "see " + cmd.CommandPath() + " --help"
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if s := pipeline.Suggest(unknown.GetSpecifiedName(), names); s != "" {
			see = strings.Replace(s, `"`, `"--`, 1)
		}
		return fmt.Errorf("unknown flag --%s; %s", unknown.GetSpecifiedName(), see)
	case errors.As(err, &unknown):
		return fmt.Errorf("unknown flag -%s; %s", unknown.GetSpecifiedShortnames(), see)
	case errors.As(err, &missing):
		what, _ := pflag.UnquoteUsage(missing.GetFlag())
		name := missing.GetFlag().Name
		return fmt.Errorf("--%s needs a value, --%s %s; %s", name, name, what, see)
	case errors.As(err, &invalid):
		want := map[string]string{"int": "a whole number", "int64": "a whole number", "bool": "true or false",
			"uint64": "a whole number, 0 or more", "duration": "a duration such as 90s, 10m or 1h30m"}
		if w := want[invalid.GetFlag().Value.Type()]; w != "" {
			return fmt.Errorf("--%s %s: want %s", invalid.GetFlag().Name, invalid.GetValue(), w)
		}
	}
	return fmt.Errorf("%w; %s", err, see)
}
