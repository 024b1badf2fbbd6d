package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"

	"github.com/spf13/pflag"
)

// planFlags are the flags of commands that read a plan.
type planFlags struct {
	set  []string
	vars []string
}

func (f *planFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.set, "set", nil, "override a value of the plan, KEY=VALUE, such as minhash.bands=20")
	fs.StringArrayVar(&f.vars, "var", nil, "value of a variable of the plan, NAME=VALUE")
}

// load reads and checks a plan.
func (f *planFlags) load(file string) (*pipeline.Plan, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("plan %v", err), Err: err}
	}
	opt := pipeline.ParseOptions{Env: os.LookupEnv, Vars: map[string]string{}, Complete: stages.Complete}
	opt.Profile = func(name string) (map[string]any, string, error) { return profileDefaults(filepath.Dir(file), name) }
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

// profileDefaults finds a network profile: a built-in one by name, or a file, relative to
// the plan's folder, if the name has a path's form.
func profileDefaults(dir, name string) (map[string]any, string, error) {
	p, err := loadProfile(dir, name)
	if err != nil {
		return nil, "", err
	}
	return p.Defaults(), p.Name, nil
}

func loadProfile(dir, name string) (*network.Profile, error) {
	if !strings.HasSuffix(name, ".yaml") {
		return network.Load(name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return network.LoadFile(store.OS(), name)
}

// heldOutRules are the row rules of the plan's network.
func heldOutRules(p *pipeline.Plan) (pipeline.HeldOutRules, error) {
	if p.Network.Profile == "" {
		return pipeline.HeldOutRules{}, nil
	}
	profile, err := loadProfile(p.Dir(), p.Network.Profile)
	if err != nil {
		return pipeline.HeldOutRules{}, err
	}
	return stages.HeldOutRules(profile), nil
}
