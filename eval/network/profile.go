package network

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

//go:embed profiles/*.yaml
var builtin embed.FS

// Profile is what one network demands. A section or field that the file leaves out is
// zero and has no entry in [Profile.Defaults].
type Profile struct {
	Name     string   `yaml:"name"` // network@revision
	Aliases  []string `yaml:"aliases"`
	Source   string   `yaml:"source"` // what the values were read from
	Model    Model    `yaml:"model"`
	Tokenize Tokenize `yaml:"tokenize"`
	Train    Train    `yaml:"train"`
	HeldOut  HeldOut  `yaml:"held_out"`
	Evaluate Evaluate `yaml:"evaluate"`
	Update   Update   `yaml:"update"`
	Cycle    Cycle    `yaml:"cycle"`
	Bundle   Bundle   `yaml:"bundle"`

	stated map[string]bool // section.field of each field that the file has
}

// Model describes the base model.
type Model struct {
	Family         string     `yaml:"family"`
	MoELayers      LayerRange `yaml:"moe_layers"`
	RoutedExperts  int        `yaml:"routed_experts"`
	TopKTraining   int        `yaml:"top_k_training"`   // experts per token in the miner's partial model
	TopKEvaluation int        `yaml:"top_k_evaluation"` // and in the validator's whole model
	Parameters     Range      `yaml:"parameters"`       // number allowed
	Architectures  []string   `yaml:"architectures"`    // allowed in the model's config.json; none stands for any
}

// LayerRange is a range of layers, both ends included.
type LayerRange struct {
	First int `yaml:"first"`
	Last  int `yaml:"last"`
}

// Layers lists the range; it is empty when the profile gives none.
func (r LayerRange) Layers() []int {
	var out []int
	for l := r.First; l <= r.Last && r.Last > 0; l++ {
		out = append(out, l)
	}
	return out
}

// Range is a range of whole numbers, both ends included; zero means no bound.
type Range struct {
	Min int64 `yaml:"min"`
	Max int64 `yaml:"max"`
}

// Tokenize says how text becomes sequences.
type Tokenize struct {
	SequenceLength int    `yaml:"sequence_length"` // tokens
	Packing        string `yaml:"packing"`         // see package tokenize
	SpecialTokens  bool   `yaml:"special_tokens"`  // whether the tokenizer adds its own
	// GenerationPrompt says whether a conversation ends with the beginning of one more answer.
	GenerationPrompt bool   `yaml:"generation_prompt"`
	LongDocuments    string `yaml:"long_documents"` // truncate, or window: see TokenWindow
}

// Train holds the miner's training defaults.
type Train struct {
	Trainable                 string  `yaml:"trainable"` // experts or all
	LearningRate              float64 `yaml:"learning_rate"`
	Schedule                  string  `yaml:"schedule"`
	WarmupSteps               int     `yaml:"warmup_steps"`
	ScheduleSteps             int     `yaml:"schedule_steps"` // length of the network's own schedule
	MaxSteps                  int     `yaml:"max_steps"`
	Beta1                     float64 `yaml:"beta1"`
	Beta2                     float64 `yaml:"beta2"`
	WeightDecay               float64 `yaml:"weight_decay"`
	ClipNorm                  float64 `yaml:"clip_norm"` // of the whole gradient
	GradientAccumulationSteps int     `yaml:"gradient_accumulation_steps"`
	BatchSize                 int     `yaml:"batch_size"`     // sequences per device and inner step
	NonFinite                 string  `yaml:"non_finite"`     // raise or skip
	NonFiniteMax              int     `yaml:"non_finite_max"` // consecutive batches skipped
	Precision                 string  `yaml:"precision"`      // of the network's own autocast
	AuxLossCoefficient        float64 `yaml:"aux_loss_coefficient"`
}

// HeldOut holds the rows rules of a network's validators.
type HeldOut struct {
	MinChars         int `yaml:"min_chars"`          // shorter texts are left out, in code points
	DedupPrefixChars int `yaml:"dedup_prefix_chars"` // texts whose first so many were seen are left out
}

// Evaluate says how validators score.
type Evaluate struct {
	Rule              string    `yaml:"rule"`        // a name of [Scorers]
	BatchesMax        int       `yaml:"batches_max"` // as the network's own setting says
	BatchSize         int       `yaml:"batch_size"`
	Precision         string    `yaml:"precision"`
	Exponent          float64   `yaml:"exponent"`
	RankPoints        []float64 `yaml:"rank_points"`        // best first
	Rounds            int       `yaml:"rounds"`             // of the rolling mean of points
	SelectionFraction float64   `yaml:"selection_fraction"` // of rows, see [Selector]
	WorldSize         int       `yaml:"world_size"`         // nodes that share the rows, see [NodeRows]
	Epsilon           Epsilon   `yaml:"epsilon"`
	Temperature       float64   `yaml:"temperature"`
	Sources           []Source  `yaml:"sources"`
}

// Epsilon is an advantage of the earlier model that falls linearly with its age.
type Epsilon struct {
	Initial float64 `yaml:"initial"`
	Final   float64 `yaml:"final"`
	Blocks  int64   `yaml:"blocks"`
}

// Source is a data set of a weighted evaluation.
type Source struct {
	Name   string  `yaml:"name"`
	Path   string  `yaml:"path"`
	Weight float64 `yaml:"weight"`
	Config string  `yaml:"config"` // the only configuration that is read; empty for all but default
	Pages  int     `yaml:"pages"`  // that a validator reads, see [Source.DrawPages]
	// RowsMax is the greatest number of a page's first row; 0 draws by the numbers of rows that the hub tells.
	RowsMax int64 `yaml:"rows_max"`
	// TextAt says where the text is, if its rows at the hub only point to it.
	TextAt string `yaml:"text_at"`
}

// Update says how the result of training is stored.
type Update struct {
	DType  string `yaml:"dtype"`  // a name of [checkpoint.ParseDType]
	Naming string `yaml:"naming"` // a name of [checkpoint.ParseNaming]
	Hash   string `yaml:"hash"`   // blake2b-24, sha256 or sn9-folder
}

// Cycle is the network's clock.
type Cycle struct {
	NetUID       int     `yaml:"netuid"`
	BlockSeconds float64 `yaml:"block_seconds"`
	TrainPhase   string  `yaml:"train_phase"`
	Phases       []Phase `yaml:"phases"`
}

// Phase is a part of the cycle.
type Phase struct {
	Name   string `yaml:"name"`
	Blocks int    `yaml:"blocks"`
}

// Blocks is the length of the cycle.
func (c Cycle) Blocks() int {
	n := 0
	for _, p := range c.Phases {
		n += p.Blocks
	}
	return n
}

// WindowSeconds is the length of the training phase; zero when the network has none.
func (c Cycle) WindowSeconds() float64 {
	for _, p := range c.Phases {
		if p.Name == c.TrainPhase {
			return float64(p.Blocks) * c.BlockSeconds
		}
	}
	return 0
}

// Names lists the built-in profiles, sorted.
func Names() []string {
	all, err := builtins()
	if err != nil {
		return nil
	}
	var out []string
	for _, p := range all {
		out = append(out, p.Name)
	}
	return out
}

func builtins() ([]*Profile, error) {
	names, err := fs.Glob(builtin, "profiles/*.yaml")
	if err != nil {
		return nil, err
	}
	var out []*Profile
	for _, name := range names {
		data, err := builtin.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// Load returns the built-in profile of that name or alias.
func Load(name string) (*Profile, error) {
	all, err := builtins()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.Name == name || slices.Contains(p.Aliases, name) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("unknown network profile %q; there are %s", name, strings.Join(Names(), ", "))
}

// IsFile reports whether a profile's name is that of a user's own file.
func IsFile(name string) bool { return strings.HasSuffix(name, ".yaml") }

// Find loads the profile that a plan names: a file, relative to the plan's folder dir, or one
// that is built in.
func Find(fsys store.FS, dir, name string) (*Profile, error) {
	switch {
	case !IsFile(name):
		return Load(name)
	case !filepath.IsAbs(name):
		name = filepath.Join(dir, name)
	}
	return LoadFile(fsys, name)
}

// LoadFile reads a user's own profile.
func LoadFile(fsys store.FS, path string) (*Profile, error) {
	data, err := store.ReadAll(fsys, path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Parse reads a profile's YAML. Unknown keys are errors, so that a misspelt one is not
// taken for one left out.
func Parse(data []byte) (*Profile, error) {
	p := &Profile{}
	if err := store.UnmarshalYAML(data, p); err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := store.UnmarshalYAML(data, &tree); err != nil {
		return nil, err
	}
	p.stated = map[string]bool{}
	for section, v := range tree {
		fields, _ := v.(map[string]any)
		for field := range fields {
			p.stated[section+"."+field] = true
		}
	}
	return p, p.check()
}

func (p *Profile) check() error {
	if p.Name == "" || p.Source == "" {
		return errors.New("a profile needs name and source")
	}
	if _, ok := Scorers()[p.Evaluate.Rule]; !ok {
		return fmt.Errorf("evaluate.rule: unknown %q", p.Evaluate.Rule)
	}
	if _, err := checkpoint.ParseDType(p.Update.DType); err != nil {
		return fmt.Errorf("update.dtype: %w", err)
	}
	if _, err := checkpoint.ParseNaming(p.Update.Naming); err != nil {
		return fmt.Errorf("update.naming: %w", err)
	}
	if !slices.Contains([]string{"blake2b-24", "sha256", "sn9-folder"}, p.Update.Hash) {
		return fmt.Errorf("update.hash: unknown %q", p.Update.Hash)
	}
	if len(p.Bundle.Files) == 0 {
		return errors.New("bundle.files: at least one file is needed")
	}
	return p.Bundle.check()
}

// DType is the type in which updates are stored.
func (p *Profile) DType() checkpoint.DType {
	d, _ := checkpoint.ParseDType(p.Update.DType) // checked when the profile was read
	return d
}

// Naming is how the tensors of updates are called.
func (p *Profile) Naming() checkpoint.Naming {
	n, _ := checkpoint.ParseNaming(p.Update.Naming) // checked when the profile was read
	return n
}

// Defaults returns the values that a plan may leave out, keyed by stage and field, such as
// train.learning_rate, held_out.min_chars, proof_of_loss.rule or bundle.dtype: the fields
// of the sections Tokenize, Train, HeldOut, Evaluate (as proof_of_loss) and Update (as
// bundle), under their YAML names and with their Go types. Only what the profile's file
// states is there, so that a zero stated, as in warmup_steps: 0, differs from silence.
// Their origin is the profile's Name.
func (p *Profile) Defaults() map[string]any {
	out := map[string]any{}
	add := func(section, stage string, fields any) {
		v := reflect.ValueOf(fields)
		for i := range v.NumField() {
			key := v.Type().Field(i).Tag.Get("yaml")
			if p.stated[section+"."+key] {
				out[stage+"."+key] = v.Field(i).Interface()
			}
		}
	}
	add("tokenize", "tokenize", p.Tokenize)
	add("train", "train", p.Train)
	add("held_out", "held_out", p.HeldOut)
	add("evaluate", "proof_of_loss", p.Evaluate)
	add("update", "bundle", p.Update)
	return out
}
