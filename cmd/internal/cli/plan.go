package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote"
	"bzdata/stages"

	"github.com/spf13/pflag"
)

// planFlags are the flags of commands that read a plan.
type planFlags struct {
	set  []string
	vars []string
	// inputs reads what the plan names; parse makes it, and its user closes it.
	inputs *remote.FS
}

func (f *planFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.set, "set", nil, "override a value of the plan, `KEY=VALUE`, such as minhash.bands=20")
	fs.StringArrayVar(&f.vars, "var", nil, "value of a variable of the plan, `NAME=VALUE`")
}

// newInputs is the file system of local and remote names. Only the pauses between attempts
// are random.
func newInputs(ctx context.Context) *remote.FS {
	jitter := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(time.Now().UnixNano())))
	return remote.New(ctx, store.OS(), remote.Options{Env: os.LookupEnv, Jitter: jitter})
}

// parse reads and checks a plan.
func (f *planFlags) parse(ctx context.Context, file string) (*pipeline.Plan, error) {
	src, err := readPlan(file)
	if err != nil {
		return nil, err
	}
	f.inputs = newInputs(ctx)
	opt := pipeline.ParseOptions{Env: os.LookupEnv, Vars: map[string]string{}, Complete: stages.Complete,
		Hide: f.inputs.Hide}
	opt.Profile = func(name string) (map[string]any, string, error) {
		return profileDefaults(filepath.Dir(file), name)
	}
	for _, s := range f.set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, &flagError{fmt.Errorf("--set %s: want KEY=VALUE", s)}
		}
		opt.Set = append(opt.Set, pipeline.Override{Key: key, Value: value})
	}
	for _, v := range f.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, &flagError{fmt.Errorf("--var %s: want NAME=VALUE", v)}
		}
		opt.Vars[name] = value
	}
	return pipeline.ParsePlan(file, src, stages.All(), opt)
}

// readPlan reads a plan file. What is no plan at all is said here, before its text is
// looked at.
func readPlan(file string) ([]byte, error) {
	usage := func(err error, format string, args ...any) error {
		return &pipeline.UsageError{Msg: fmt.Sprintf(format, args...), Err: err}
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		plans, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.y*ml")) // for the hint only
		hint := cmp.Or(pipeline.Suggest(file, plans), "check the path")
		return nil, usage(err, "plan %s is not there; %s", file, hint)
	case err != nil:
		return nil, usage(err, "plan %v", err)
	case info.IsDir():
		return nil, usage(nil, "plan %s is a folder; name a YAML file", file)
	}
	if _, err := store.FormatOf(file); err == nil {
		return nil, usage(nil, "%s is a data file; name a plan, a YAML file that lists data under input", file)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, usage(err, "plan %v", err)
	}
	return src, nil
}

// profileDefaults finds a network profile: a built-in one by name, or a file, relative to
// the plan's folder, if the name has a path's form.
func profileDefaults(dir, name string) (map[string]any, string, error) {
	p, err := network.Find(store.OS(), dir, name)
	if err != nil {
		return nil, "", err
	}
	return p.Defaults(), p.Name, nil
}

// heldOutRules are the row rules of the plan's network.
func heldOutRules(p *pipeline.Plan) (pipeline.HeldOutRules, error) {
	if p.Network.Profile == "" {
		return pipeline.HeldOutRules{}, nil
	}
	profile, err := network.Find(store.OS(), p.Dir(), p.Network.Profile)
	if err != nil {
		return pipeline.HeldOutRules{}, err
	}
	return stages.HeldOutRules(profile), nil
}
