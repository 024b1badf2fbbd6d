package stages

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// check holds the update against what a validator demands. It returns whether the bundle is to be written.
func (b *bundling) check() (goOn bool, err error) {
	naming, err := checkpoint.ParseNaming(b.update.Meta.Naming)
	if err != nil {
		return false, err
	}
	rules := checkpoint.Rules{Naming: naming, Group: b.update.Meta.Assignment, Base: b.base, From: b.update.Meta.Base,
		Current: b.base.from}
	if b.profile != nil {
		rules.DTypes = b.profile.Bundle.Hashable()
	}
	findings, err := checkpoint.Lint(b.update.File, rules)
	if err != nil {
		return false, err
	}
	var fatal, idle []string
	for _, f := range findings {
		if f.Fatal() {
			fatal = append(fatal, f.String())
		} else {
			idle = append(idle, f.String())
		}
	}
	if !b.refuse(true, "a validator would reject the update: ", fatal) {
		return false, nil
	}
	limits, err := b.limits()
	if err != nil || !b.refuse(true, "a validator would reject the model: ", limits) {
		return false, err
	}
	if !b.refuse(false, "the update would score nothing: ", idle) {
		return false, nil
	}
	copies, err := b.compare(naming)
	if err != nil {
		return false, err
	}
	return b.refuse(false, "the update would be taken for a copy: ", copies), nil
}

// whole are the tensors of base and update together.
func (b *bundling) whole() (checkpoint.Source, error) {
	return checkpoint.Overlay(b.base, b.update.Source)
}

// limits says what a network of whole models would not take of the model.
func (b *bundling) limits() ([]string, error) {
	if b.profile == nil || !slices.ContainsFunc(b.manifest.Files, isModel) {
		return nil, nil
	}
	whole, err := b.whole()
	if err != nil {
		return nil, err
	}
	var out []string
	parameters, bytes := int64(0), int64(0)
	for _, name := range whole.Names() {
		info, _ := whole.Info(name)
		parameters, bytes = parameters+int64(info.Elements()), bytes+info.Bytes
	}
	r := b.profile.Model.Parameters
	if parameters < r.Min || r.Max > 0 && parameters > r.Max {
		out = append(out, fmt.Sprintf("%d parameters; the network takes %d to %d", parameters, r.Min, r.Max))
	}
	if limit := b.profile.Bundle.BytesMax; limit > 0 && bytes > limit {
		out = append(out, fmt.Sprintf("%d bytes of tensors; the network takes %d", bytes, limit))
	}
	if allowed := b.profile.Model.Architectures; len(allowed) > 0 {
		has, err := b.architectures()
		if err != nil {
			return nil, err
		}
		if len(has) != 1 || !slices.Contains(allowed, has[0]) {
			out = append(out, fmt.Sprintf("config.json has architectures %q; the network takes one of %s", has,
				strings.Join(allowed, ", ")))
		}
	}
	return out, nil
}

func isModel(f network.BundleFile) bool { return f.Role == "model" }

// architectures are the names of transformers' classes that the base's config.json gives.
func (b *bundling) architectures() ([]string, error) {
	name := b.basePath(model.ConfigFile)
	data, err := store.ReadAll(b.t.Inputs, name)
	if err != nil {
		return nil, err
	}
	var config struct {
		Architectures []string `json:"architectures"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return config.Architectures, nil
}

func (b *bundling) basePath(name string) string {
	return filepath.Join(b.t.Plan.Path(string(b.t.Plan.Network.Base.Model)), name)
}

// findUpdates lists the files of weights that a path names: a file, a folder, or a pattern of names in a folder.
func findUpdates(fsys store.FS, path string) (files, remarks []string, err error) {
	info, err := fsys.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return []string{path}, nil, nil
	case err == nil:
		path = store.Join(path, "*")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, err
	}
	entries, err := fsys.ReadDir(store.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		match, err := filepath.Match(filepath.Base(path), e.Name())
		if err != nil {
			return nil, nil, &pipeline.UsageError{Msg: fmt.Sprintf("bundle.compare_with: %s: %v", path, err)}
		}
		extension := filepath.Ext(e.Name())
		if match && !e.IsDir() && (extension == ".pt" || extension == ".safetensors") {
			files = append(files, store.Join(store.Dir(path), e.Name()))
		}
	}
	slices.Sort(files)
	return files, nil, nil
}

// compare holds the update against others.
func (b *bundling) compare(naming checkpoint.Naming) (copies []string, err error) {
	own, err := modelHash(b.update.File)
	if err != nil {
		return nil, err
	}
	for _, name := range b.t.Files(compareRead) {
		c, err := b.compareOne(naming, name)
		if err != nil {
			return nil, &pipeline.DataError{Msg: fmt.Sprintf("bundle.compare_with: %s: %v", name, err)}
		}
		switch {
		case c.Hash == own:
			copies = append(copies, fmt.Sprintf("%s has the same hash, %s", c.File, own))
		case c.Cosine > b.CosineMax:
			copies = append(copies, fmt.Sprintf("%s changes the base in the same direction: cosine %.4f, above cosine_max %g",
				c.File, c.Cosine, b.CosineMax))
		}
		b.manifest.Compared = append(b.manifest.Compared, c)
	}
	n := len(b.manifest.Compared)
	if n == 0 && len(b.CompareWith) > 0 {
		b.t.Figure("compared", "with no other update: compare_with names no file that is there")
	}
	if n > 0 {
		most := slices.MaxFunc(b.manifest.Compared, func(x, y network.Compared) int {
			if x.Cosine < y.Cosine {
				return -1
			}
			return 1
		})
		b.t.Figure("compared", "with %d updates; the nearest, %s, has a cosine of %.4f", n, most.File, most.Cosine)
	}
	return copies, nil
}

func (b *bundling) compareOne(naming checkpoint.Naming, name string) (c network.Compared, err error) {
	f, err := checkpoint.OpenAny(b.t.Inputs, name)
	if err != nil {
		return c, errors.New(strings.TrimPrefix(err.Error(), name+": "))
	}
	defer f.Close()
	c.File = filepath.Base(name)
	if c.Hash, err = modelHash(f); err != nil {
		return c, err
	}
	other := checkpoint.Source(f)
	if group := b.update.Meta.Assignment; group != nil {
		if other, err = checkpoint.FromProfile(f, naming, group); err != nil {
			return c, err
		}
	}
	c.Cosine, err = checkpoint.DeltaCosine(b.update.Source, other, b.base)
	return c, err
}

// modelHash is the networks' hash of all tensors of a source.
func modelHash(src checkpoint.Source) (string, error) {
	tensors, err := checkpoint.Tensors(src)
	if err != nil {
		return "", err
	}
	return checkpoint.Hash(tensors)
}
