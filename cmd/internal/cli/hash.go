package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"

	"github.com/spf13/cobra"
)

// hashFlags are the flags of bzdata hash.
type hashFlags struct {
	group, naming, base, checkpoints string
	folder                           bool
	hotkey                           string
}

func newHash(env *environment) *cobra.Command {
	f := &hashFlags{}
	cmd := &cobra.Command{
		Use:   "hash FILE…",
		Short: "Print the hash by which the networks know an update, and check its tensors",
		Long: `Hash prints the 48 digits by which Block Zero and Connito know a file of weights: BLAKE2b over
names and values of its tensors. The same tensors have the same hash as .safetensors and as .pt.
With --group the tensors are checked as a validator would: names and shapes of the group's experts
and nothing else, no NaN, nothing missing; each fault is a line with the network's reason. With
--base an exact copy of the base is a fault, too, since it scores nothing. With --checkpoints the
base is that of the newest complete checkpoint there, and an update in a folder globalver_V… of an
older version is stale.

With --folder each FILE is a folder, such as a downloaded repository, and the hash is that by which
Subnet 9 knows a model: base64 of SHA-256 over all files below it. With --hotkey its secure hash is
printed, too, which goes into the metadata on the chain.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &flagError{errors.New("hash wants one FILE or more; see bzdata hash --help")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if f.folder || f.hotkey != "" {
				return f.folders(env.stdout, args)
			}
			return f.run(env, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.group, "group", "", "check the tensors against the expert group in this `DIR`")
	flags.StringVar(&f.naming, "naming", "native", "how the network names tensors, a `NAME`: native, v2lite-fused, qwen3next")
	flags.StringVar(&f.base, "base", "", "check against the base model in this `DIR`")
	flags.StringVar(&f.checkpoints, "checkpoints", "", "put the newest checkpoint in or below this `DIR` over the base model")
	flags.BoolVar(&f.folder, "folder", false, "hash whole folders, as Subnet 9 does")
	flags.StringVar(&f.hotkey, "hotkey", "", "print the secure hash for the hotkey of this SS58 `ADDRESS`, too")
	return cmd
}

// folders prints the hashes of folders.
func (f *hashFlags) folders(w io.Writer, dirs []string) error {
	switch {
	case !f.folder:
		return &flagError{errors.New("--hotkey goes with --folder")}
	case f.group+f.base+f.checkpoints != "":
		return &flagError{errors.New("--folder goes with --hotkey alone")}
	}
	if err := (network.Submission{Hotkey: f.hotkey}).Check(nil); err != nil {
		return &flagError{fmt.Errorf("--hotkey: %w", err)}
	}
	for _, dir := range dirs {
		hash, err := network.FolderHash(store.OS(), dir)
		if err != nil {
			return missingIsUsage(err)
		}
		fmt.Fprintf(w, "%s  %s\n", hash, dir)
		if f.hotkey != "" {
			fmt.Fprintf(w, "%s  secure hash for %s\n", network.SecureHash(hash, f.hotkey), f.hotkey)
		}
	}
	return nil
}

func (f *hashFlags) run(env *environment, files []string) error {
	lint, done, err := f.linter(env.stderr)
	if err != nil {
		return missingIsUsage(err)
	}
	faults := 0
	for _, name := range files {
		n, err := f.file(env.stdout, name, lint)
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

// linter returns what updates are held against, nil if no check was asked for, and a function that
// ends its use. It says on w which checkpoints it passes over.
func (f *hashFlags) linter(w io.Writer) (*checkpoint.Rules, func() error, error) {
	done := func() error { return nil }
	switch {
	case f.group == "" && f.base != "":
		return nil, nil, &flagError{errors.New("--base goes with --group")}
	case f.base == "" && f.checkpoints != "":
		return nil, nil, &flagError{errors.New("--checkpoints goes with --base")}
	case f.group == "":
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
	rules := &checkpoint.Rules{Naming: naming, Group: group.Assignment}
	if f.base == "" {
		return rules, done, nil
	}
	base, err := checkpoint.OpenDir(store.OS(), f.base)
	if err != nil && !store.Exists(store.OS(), f.base) {
		err = &pipeline.UsageError{Msg: f.base + " is not there; check the path", Err: err}
	}
	if err != nil {
		return nil, nil, err
	}
	rules.Base = base
	if f.checkpoints == "" {
		return rules, base.Close, nil
	}
	over, err := f.overlay(w, rules)
	if err != nil {
		return nil, nil, errors.Join(err, base.Close())
	}
	return rules, func() error { return errors.Join(base.Close(), over.Close()) }, nil
}

// overlay puts the newest checkpoint over the base of the rules.
func (f *hashFlags) overlay(w io.Writer, rules *checkpoint.Rules) (io.Closer, error) {
	newest, passed, err := checkpoint.Newest(store.OS(), f.checkpoints, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range passed {
		fmt.Fprintln(w, p)
	}
	groups, err := checkpoint.LoadGroups(store.OS(), filepath.Dir(filepath.Clean(f.group)))
	if err != nil {
		return nil, err
	}
	over, err := checkpoint.OpenFiles(store.OS(), newest.Files, rules.Naming, groups)
	if err != nil {
		return nil, err
	}
	rules.Current = &newest.FolderName
	if rules.Base, err = checkpoint.Overlay(rules.Base, over); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", newest.Dir, err), over.Close())
	}
	return over, nil
}

// file prints a file's hash and faults, and returns the number of faults.
func (f *hashFlags) file(w io.Writer, name string, rules *checkpoint.Rules) (n int, err error) {
	if info, err := store.OS().Stat(name); err == nil && info.IsDir() {
		return 0, &pipeline.UsageError{Msg: name + " is a folder; name its files of weights, or hash it whole with --folder, " +
			"as Subnet 9 does"}
	}
	file, err := checkpoint.OpenAny(store.OS(), name)
	if rules != nil && err != nil && !errors.Is(err, fs.ErrNotExist) {
		f := checkpoint.Finding{Reason: checkpoint.StateDictParseFailed, Detail: strings.TrimPrefix(err.Error(), name+": ")}
		_, err = fmt.Fprintf(w, "%s: %s\n", name, f)
		return 1, err
	}
	switch {
	case err == nil:
	case !store.Exists(store.OS(), name):
		return 0, &pipeline.UsageError{Msg: name + " is not there; check the path", Err: err}
	default:
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
	if _, err := fmt.Fprintf(w, "%s  %s\n", hash, name); err != nil || rules == nil {
		return 0, err
	}
	own := *rules
	if from, ok := checkpoint.ParseFolderName(filepath.Base(filepath.Dir(name))); ok {
		own.From = &from
	}
	findings, err := checkpoint.Lint(file, own)
	for _, x := range findings {
		fmt.Fprintf(w, "%s: %s\n", name, x)
	}
	return len(findings), err
}
