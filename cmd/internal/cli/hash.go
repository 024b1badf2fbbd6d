package cli

import (
	"errors"
	"fmt"
	"io"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"

	"github.com/spf13/cobra"
)

// hashFlags are the flags of bzdata hash.
type hashFlags struct{ group, naming, base string }

func newHash(env *environment) *cobra.Command {
	f := &hashFlags{}
	cmd := &cobra.Command{
		Use:   "hash FILE…",
		Short: "Print the hash by which the networks know an update, and check its tensors",
		Long: `Hash prints the 48 digits by which Block Zero and Connito know a file of weights: BLAKE2b over
names and values of its tensors. The same tensors have the same hash as .safetensors and as .pt.
With --group the tensors are checked as a validator would: names and shapes of the group's experts
and nothing else, no NaN, nothing missing; each fault is a line with the network's reason.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &flagError{errors.New("hash wants one FILE or more; see bzdata hash --help")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return f.run(env.stdout, args) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.group, "group", "", "check the tensors against the expert group in this `DIR`")
	fs.StringVar(&f.naming, "naming", "native", "how the network names tensors, a `NAME`: native, v2lite-fused, qwen3next")
	fs.StringVar(&f.base, "base", "", "check shapes against the base model in this `DIR`")
	return cmd
}

func (f *hashFlags) run(w io.Writer, files []string) error {
	lint, done, err := f.linter()
	if err != nil {
		return err
	}
	faults := 0
	for _, name := range files {
		n, err := f.file(w, name, lint)
		if err != nil {
			return errors.Join(err, done())
		}
		faults += n
	}
	if err := done(); err != nil || faults == 0 {
		return err
	}
	return &pipeline.DataError{Msg: fmt.Sprintf("%d faults; a validator would reject the update", faults)}
}

// linter returns a check of an update, nil if none was asked for, and a function that ends its use.
func (f *hashFlags) linter() (lintFunc, func() error, error) {
	done := func() error { return nil }
	if f.group == "" {
		if f.base != "" {
			return nil, nil, &flagError{errors.New("--base goes with --group")}
		}
		return nil, done, nil
	}
	naming, err := checkpoint.ParseNaming(f.naming)
	if err != nil {
		return nil, nil, &flagError{fmt.Errorf("--naming: %w", err)}
	}
	group, err := checkpoint.LoadGroup(store.OS(), f.group)
	if err != nil {
		return nil, nil, err
	}
	var info func(string) (checkpoint.Info, bool)
	if f.base != "" {
		base, err := checkpoint.OpenDir(store.OS(), f.base)
		if err != nil {
			return nil, nil, err
		}
		info, done = base.Info, base.Close
	}
	return func(update checkpoint.Source) ([]checkpoint.Finding, error) {
		return checkpoint.Lint(update, naming, group.Assignment, info)
	}, done, nil
}

// lintFunc checks an update.
type lintFunc func(checkpoint.Source) ([]checkpoint.Finding, error)

// file prints a file's hash and faults, and returns the number of faults.
func (f *hashFlags) file(w io.Writer, name string, lint lintFunc) (n int, err error) {
	file, err := checkpoint.OpenAny(store.OS(), name)
	if err != nil {
		return 0, &pipeline.DataError{Msg: err.Error()}
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	tensors, err := checkpoint.Tensors(file)
	if err != nil {
		return 0, err
	}
	hash, err := checkpoint.Hash(tensors)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := fmt.Fprintf(w, "%s  %s\n", hash, name); err != nil || lint == nil {
		return 0, err
	}
	findings, err := lint(file)
	for _, x := range findings {
		fmt.Fprintf(w, "%s: %s\n", name, x)
	}
	return len(findings), err
}
