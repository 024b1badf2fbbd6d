package pipeline_test

import (
	"errors"
	"fmt"
	"strings"

	"bzdata/pipeline"
)

// The kinds of stage below exercise every feature of a configuration; they share names
// with real ones so that the plans in testdata read like plans.

type nearCopies struct {
	Bands  int            `yaml:"bands" min:"1" max:"256" doc:"Number of bands."`
	Rows   int            `yaml:"rows" min:"1" max:"64" doc:"Hashes in each band."`
	Verify float64        `yaml:"verify" min:"0" max:"1" doc:"Least similarity."`
	Keep   string         `yaml:"keep" enum:"longest|first|random" doc:"Which copy stays."`
	Salt   uint64         `yaml:"salt" doc:"Salt of the hashes."`
	Memory pipeline.Bytes `yaml:"memory" min:"1MiB" max:"1TiB" doc:"Memory of the index."`
	Index  *indexFolder   `yaml:"index" doc:"Copies of earlier runs."`
}

type indexFolder struct {
	Dir        pipeline.Path `yaml:"dir" required:"true" doc:"Folder of the index."`
	Generation string        `yaml:"generation" required:"true" doc:"Name of this run's part."`
}

// Check asks for a signature that fits.
func (c *nearCopies) Check(at *pipeline.Fields) {
	if c.Bands*c.Rows > 1024 {
		at.Errorf("rows", "%d bands of %d rows need %d hashes; 1024 is the most", c.Bands, c.Rows, c.Bands*c.Rows)
	}
}

type mixture struct {
	Weights map[string]float64 `yaml:"weights" min:"0" max:"100" required:"true" doc:"Weight of each source."`
}

func (c *mixture) Check(at *pipeline.Fields) {
	known := at.Plan().Sources()
	for name := range c.Weights {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			at.Unknown("weights."+name, name, known)
		}
	}
}

type packing struct {
	SequenceLength int    `yaml:"sequence_length" min:"16" max:"65536" network:"tokenize.sequence_length" doc:"Tokens in a row."`
	EndOfText      string `yaml:"end_of_text" doc:"Text of the separator."`
}

type tokens struct {
	packing
	Tokenizer pipeline.Path   `yaml:"tokenizer" doc:"Tokenizer file."`
	Split     []float64       `yaml:"split" min:"0" max:"1" doc:"Shares of the splits."`
	Extra     []string        `yaml:"extra" enum:"bos|eos" doc:"Marks to add."`
	Checks    []lengthCheck   `yaml:"checks" doc:"Length rules."`
	Notes     map[string]bool `yaml:"notes" doc:"Switches."`
}

type lengthCheck struct {
	Above int  `yaml:"above" min:"0" doc:"Applies to rows of more tokens."`
	Keep  bool `yaml:"keep" doc:"Keeps such rows."`
}

func (c *lengthCheck) SetDefaults() { c.Keep = true }

type trainer struct {
	LearningRate float64            `yaml:"learning_rate" min:"0" max:"1" network:"train.learning_rate" doc:"Peak learning rate."`
	WarmupSteps  int                `yaml:"warmup_steps" min:"0" network:"train.warmup_steps" doc:"Steps of warm-up."`
	Experts      []int              `yaml:"experts" min:"0" network:"train.experts" doc:"Experts to train."`
	Deadline     *pipeline.Duration `yaml:"deadline" min:"1m" doc:"Time to train."`
	MaxSteps     *int               `yaml:"max_steps" min:"1" doc:"Steps to train."`
	Schedule     schedule           `yaml:"schedule" doc:"Shape of the learning rate."`
}

type schedule struct {
	Name  string  `yaml:"name" enum:"cosine|linear|constant" network:"train.schedule" doc:"Curve."`
	Floor float64 `yaml:"floor" min:"0" max:"1" doc:"Last rate as a share of the peak."`
}

type guard struct {
	Against pipeline.Paths `yaml:"against" required:"true" doc:"Texts to stay away from."`
}

func built[C any](name string) func(C) (pipeline.Program, error) {
	return func(C) (pipeline.Program, error) { return pipeline.Program{}, errors.New(name + " is a toy") }
}

func toyKinds() []pipeline.Kind {
	type nothing struct{}
	return []pipeline.Kind{
		pipeline.Spec[nothing]{
			Name: "normalize", Summary: "Makes equal what looks equal.", Doc: "Unicode NFC.",
			Example: "normalize: {}", Version: 1, New: built[nothing]("normalize"),
		}.Kind(),
		pipeline.Spec[nearCopies]{
			Name: "minhash", Summary: "Drops near copies.", Doc: "Signatures meet in bands of rows.",
			Example: "minhash:\n  bands: 14\n  rows: 8", Version: 3,
			Takes: []pipeline.Data{pipeline.Documents}, Makes: []pipeline.Data{pipeline.Documents},
			Default: nearCopies{Bands: 14, Rows: 8, Verify: 0.8, Keep: "longest", Memory: 64 << 20},
			New:     built[nearCopies]("minhash"),
		}.Kind(),
		pipeline.Spec[guard]{
			Name: "decontaminate", Summary: "Drops what the exam contains.",
			Example: "decontaminate: {against: [exam/*.jsonl]}", New: built[guard]("decontaminate"),
		}.Kind(),
		pipeline.Spec[mixture]{
			Name: "mix", Summary: "Weighs the sources.",
			Example: "mix:\n  weights: {example: 0.7}", New: built[mixture]("mix"),
		}.Kind(),
		pipeline.Spec[tokens]{
			Name: "tokenize", Summary: "Turns text into rows of tokens.",
			Example: "tokenize: {sequence_length: 1024}",
			Takes:   []pipeline.Data{pipeline.Documents}, Makes: []pipeline.Data{pipeline.Tokens},
			Default: tokens{packing: packing{SequenceLength: 2048}}, New: built[tokens]("tokenize"),
		}.Kind(),
		pipeline.Spec[trainer]{
			Name: "train", Summary: "Trains the experts.", Example: "train: {max_steps: 100}",
			Takes: []pipeline.Data{pipeline.Tokens}, Makes: []pipeline.Data{pipeline.Update},
			Default: trainer{LearningRate: 1e-4, Schedule: schedule{Name: "cosine", Floor: 0.1}},
			New:     built[trainer]("train"),
		}.Kind(),
		pipeline.Spec[nothing]{
			Name: "submit", Summary: "Hands the score in.", Example: "submit: {}",
			Takes: []pipeline.Data{pipeline.Score}, New: built[nothing]("submit"),
		}.Kind(),
	}
}

func toyRegistry() *pipeline.Registry { return pipeline.NewRegistry(toyKinds()...) }

// toyProfile knows a good network and one whose defaults the stages refuse.
func toyProfile(name string) (map[string]any, string, error) {
	switch name {
	case "connito":
		return map[string]any{
			"train.learning_rate": 3e-5, "train.warmup_steps": 20, "train.experts": []int{1, 5},
			"train.schedule": "linear", "tokenize.sequence_length": 1024,
		}, "connito@0c936fa", nil
	case "broken":
		return map[string]any{"train.learning_rate": "fast", "tokenize.sequence_length": 8}, "broken@1", nil
	}
	return nil, "", fmt.Errorf("unknown profile %q; %s", name, strings.TrimSpace("the profiles are broken, connito"))
}

func toyOptions() pipeline.ParseOptions {
	env := map[string]string{"BUCKET": "s3://data", "STEPS": "12"}
	return pipeline.ParseOptions{
		Vars:    map[string]string{},
		Env:     func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Profile: toyProfile,
	}
}
