package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
)

// Tokens is the configuration of the tokens stage.
type Tokens struct {
	Path pipeline.Path `yaml:"path" required:"true" doc:"Folder of token shards, with its tokens.json."`
}

func tokensSpec() pipeline.Spec[Tokens] {
	return pipeline.Spec[Tokens]{
		Name: "tokens", Version: 1,
		Summary: "Takes token shards that an earlier run has made.",
		Doc: code(`
Stands for ‹input: [{tokens: FOLDER}]›, which is how a plan asks for it: the plan then begins with training,
as one that is run in a network's window does. The folder, such as ‹runs/math/out/tokens›, must have been made with
the base model's tokenizer. The shards stay where they are; they are known by size and time, and not read
before they are trained on.`),
		Example: `
tokens:
  path: runs/math/out/tokens`,
		Makes: []pipeline.Data{pipeline.Tokens},
		New:   func(c Tokens) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check asks for a tokenizer to compare with.
func (c *Tokens) Check(at *pipeline.Fields) {
	if at.Plan().Network.Base.Model == "" {
		at.Errorf("path", "the plan names no base model, whose tokenizer must be that of the tokens; set network.base.model")
	}
}

func (c Tokens) program() pipeline.Program {
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			shards := pipeline.Read{Name: "tokens", Paths: []string{string(c.Path)}, ByTime: true,
				Check: func(fsys store.FS, files []string) error {
					if err := hasTokens(files); err != nil {
						return err
					}
					return c.check(fsys, p)
				}}
			return []pipeline.Read{readTokenizer(p), shards}
		},
		Run: c.run, SkipsDocuments: true,
	}
}

// hasTokens asks for tokens.json.
func hasTokens(files []string) error {
	for _, name := range files {
		if filepath.Base(name) == tokensName {
			return nil
		}
	}
	return &pipeline.UsageError{Msg: fmt.Sprintf("input.tokens: %s has no %s; name the out/tokens folder of a run",
		filepath.Dir(files[0]), tokensName)}
}

// check asks for the base model's tokenizer and for every shard before anything is written.
func (c Tokens) check(fsys store.FS, p *pipeline.Plan) error {
	dir, base := p.Path(string(c.Path)), string(p.Network.Base.Model)
	meta, err := readTokensMeta(fsys, dir)
	if err != nil {
		return err
	}
	tok, err := tokenize.Load(fsys, filepath.Join(p.Path(base), "tokenizer.json"))
	if err != nil {
		return err
	}
	if tok.Hash() != meta.Tokenizer {
		return &pipeline.UsageError{Msg: fmt.Sprintf("input.tokens: %s was made with another tokenizer than that of %s; "+
			"tokenize the text for this base model", dir, base)}
	}
	for _, name := range slices.Sorted(maps.Keys(meta.Parts)) {
		for _, f := range meta.Parts[name].Files {
			if !store.Exists(fsys, filepath.Join(dir, f)) {
				return &pipeline.UsageError{Msg: fmt.Sprintf("input.tokens: %s lacks %s, which its %s names; copy the "+
					"whole folder", dir, f, tokensName)}
			}
		}
	}
	return nil
}

// run writes a tokens.json that says where the shards are.
func (c Tokens) run(_ context.Context, t *pipeline.Task) error {
	dir := t.Plan.Path(string(c.Path))
	meta, err := readTokensMeta(t.Inputs, dir)
	if err != nil {
		return err
	}
	sequences := map[string]int64{}
	for name, part := range meta.Parts {
		sequences[name] = part.Sequences
	}
	if meta.Dir, err = filepath.Abs(resolveLink(t.Inputs, dir)); err != nil {
		return err
	}
	t.Figure("tokens", "%d training sequences of %d tokens; %d to select by, %d to judge by", sequences["train"],
		meta.SequenceLength, sequences["select"], sequences["judge"])
	return writeTokensMeta(t, meta)
}

// tokensName is the file that describes a folder of token shards.
const tokensName = "tokens.json"

// readTokensMeta reads the description of a folder of token shards.
func readTokensMeta(fsys store.FS, dir string) (tokensMeta, error) {
	var meta tokensMeta
	name := filepath.Join(dir, tokensName)
	raw, err := store.ReadAll(fsys, name)
	if err != nil {
		return meta, err
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return meta, &pipeline.DataError{Msg: fmt.Sprintf("%s: %v; tokenize again", name, err)}
	}
	if meta.Tokenizer == "" || meta.SequenceLength < 1 {
		return meta, &pipeline.DataError{Msg: name + " does not say how its tokens were made; tokenize again"}
	}
	for _, part := range meta.Parts {
		for _, f := range part.Files {
			if !filepath.IsLocal(f) {
				return meta, &pipeline.DataError{Msg: fmt.Sprintf("%s names %s, which lies outside of its folder", name, f)}
			}
		}
	}
	return meta, nil
}

func writeTokensMeta(t *pipeline.Task, meta tokensMeta) error {
	return t.WriteFile("tokens/"+tokensName, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(meta)
	})
}

// resolveLink returns what a link stands for now, since a run swaps those in its out folder, or name
// itself if it is none.
func resolveLink(fsys store.FS, name string) string {
	target, err := fsys.Readlink(name)
	switch {
	case err != nil:
		return name
	case filepath.IsAbs(target):
		return target
	}
	return filepath.Join(filepath.Dir(name), target)
}

// openTokens opens the shards of one part of the tokens.
func openTokens(t *pipeline.Task, part string) (tokensData, func(), error) {
	dir := filepath.Join(t.Input(pipeline.Tokens), "tokens")
	o := takeShards(t.Warm, dir, part)
	if o == nil {
		var err error
		if o, err = openShardsIn(t.FS, t.Inputs, dir, part); err != nil {
			return tokensData{}, nil, err
		}
	}
	return o.data(part), func() { t.Warm.Put("tokens "+part, o) }, nil // shards are only read
}

// openTokensDir opens the shards of one part of a folder of tokens. They may be elsewhere, in inputs.
func openTokensDir(fsys, inputs store.FS, dir, part string) (tokensData, func(), error) {
	o, err := openShardsIn(fsys, inputs, dir, part)
	if err != nil {
		return tokensData{}, nil, err
	}
	return o.data(part), func() { o.Close() }, nil
}

// openShards are the open shards of one part of a folder of tokens.
type openShards struct {
	dir    string
	meta   tokensMeta
	shards []*tokenize.Shard
}

func openShardsIn(fsys, inputs store.FS, dir, part string) (*openShards, error) {
	meta, err := readTokensMeta(fsys, dir)
	if err != nil {
		return nil, err
	}
	o := &openShards{dir: dir, meta: meta}
	if meta.Dir != "" {
		dir, fsys = meta.Dir, inputs
	}
	for _, name := range meta.Parts[part].Files {
		s, err := openShardFile(fsys, filepath.Join(dir, name))
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		o.shards = append(o.shards, s)
	}
	return o, nil
}

// openShardFile opens a shard. One that is there and damaged is no whole shard however often it is tried.
func openShardFile(fsys store.FS, name string) (*tokenize.Shard, error) {
	s, err := tokenize.OpenShardFile(fsys, name)
	var path *fs.PathError
	if err == nil || errors.As(err, &path) {
		return s, err
	}
	return nil, &store.ContentError{Name: name, Err: fmt.Errorf("%w; copy it again, or tokenize again", err)}
}

// Close closes the files.
func (o *openShards) Close() error {
	for _, s := range o.shards {
		s.Close() // they were only read
	}
	return nil
}

func (o *openShards) data(part string) tokensData {
	var parts []train.Data
	for _, s := range o.shards {
		parts = append(parts, s)
	}
	data := tokensData{Data: train.Join(parts...), part: o.meta.Parts[part], domain: o.meta.Domain, tokenizer: o.meta.Tokenizer}
	if len(o.shards) > 0 {
		data.sources = o.shards[0].Meta().Sources
	}
	return data
}

// tokensData is one part of the tokens, over all its shards.
type tokensData struct {
	train.Data
	part    tokensPart
	sources []string // names by number
	domain  *tokensDomain

	tokenizer string // its hash
}
