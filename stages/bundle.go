package stages

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"crypto/sha256"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// Bundle is the configuration of the bundle stage.
type Bundle struct {
	Version int `yaml:"global_version" min:"0" doc:"The network's number of the base that was trained from; it becomes part of the folder's name. With network.base.checkpoints it is that of the checkpoint."`
}

func bundleSpec() pipeline.Spec[Bundle] {
	return pipeline.Spec[Bundle]{
		Name: "bundle", Version: 3,
		Summary: "Lays the update out as the network takes it, with its hash and a manifest.",
		Doc: code(`
Writes under out/bundle the folder that the network expects, with the very bytes that
‹proof_of_loss› judged, and beside it manifest.json with names, sizes, SHA-256 and the model hash by
which the network knows an update (BLAKE2b of 24 bytes over tensor names and values). An update that
a validator would reject, because of foreign tensors, shapes or values that are no numbers, is refused
with exit code 4; one that ‹proof_of_loss› has not judged, with exit code 2.
Files in PyTorch's format, which some networks also take, are not written.`),
		Example: `
bundle:
  global_version: 12`,
		Takes: []pipeline.Data{pipeline.Update, pipeline.Score}, Makes: []pipeline.Data{pipeline.Bundle},
		New: func(c Bundle) (pipeline.Program, error) { return c.program(), nil },
	}
}

func (c Bundle) program() pipeline.Program {
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			return append(readBase(p), readProfile(p), readGroup(p))
		},
		Run: c.run, Uses: uses(pipeline.Update, pipeline.Score), SkipsDocuments: true,
		Links: []pipeline.Link{{Name: "out/bundle", From: "bundle"}},
	}
}

// manifestName is the manifest beside a bundle's folder.
const manifestName = "manifest.json"

func (c Bundle) run(_ context.Context, t *pipeline.Task) error {
	update, err := OpenUpdate(t.FS, updateDir(t))
	if err != nil {
		return err
	}
	defer update.Close()
	if err := judged(t); err != nil {
		return err
	}
	if refused, err := c.lint(t, update.File, update.Meta); err != nil || refused {
		return err
	}
	manifest, err := c.manifest(t, update.Meta)
	if err != nil {
		return err
	}
	tensors, err := checkpoint.Tensors(update.File)
	if err != nil {
		return err
	}
	if manifest.Hash, err = checkpoint.Hash(tensors); err != nil {
		return err
	}
	manifest.Tensors, manifest.HashKind = len(tensors), "blake2b-24"
	if err := c.copyFiles(t, manifest); err != nil {
		return err
	}
	data, err := manifest.Encode()
	if err != nil {
		return err
	}
	t.Figure("bundle", "out/bundle/%s, %d tensors, the weights after step %d of %d", manifest.Directory, manifest.Tensors,
		update.Meta.Steps, update.Meta.StepsRun)
	t.Figure("hash", "%s", manifest.Hash)
	return t.WriteFile("bundle/"+manifestName, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// judged refuses an update other than the one that proof_of_loss has judged: a plan may
// train again after it.
func judged(t *pipeline.Task) error {
	name := filepath.Join(t.Input(pipeline.Score), scoreName)
	data, err := store.ReadAll(t.FS, name)
	if err != nil {
		return err
	}
	var of struct {
		Update string `json:"update_sha256"`
	}
	if err := json.Unmarshal(data, &of); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	got, err := updateSHA256(t)
	if err == nil && got != of.Update {
		err = &pipeline.UsageError{Msg: fmt.Sprintf("bundle: the update with SHA-256 %.12s… was not judged, but the "+
			"one with %.12s… was; put a proof_of_loss stage between the last train stage and bundle", got, of.Update)}
	}
	return err
}

// lint refuses an update that a validator would reject.
func (c Bundle) lint(t *pipeline.Task, update checkpoint.Source, meta UpdateMeta) (refused bool, err error) {
	if meta.Assignment == nil {
		return false, nil // all weights were trained: the rules are about expert groups
	}
	naming, err := checkpoint.ParseNaming(meta.Naming)
	if err != nil {
		return false, err
	}
	base, err := openWeights(t)
	if err != nil {
		return false, err
	}
	defer base.Close()
	findings, err := checkpoint.Lint(update, checkpoint.Rules{Naming: naming, Group: meta.Assignment, Base: base,
		From: meta.Base, Current: base.from})
	if err != nil || len(findings) == 0 {
		return false, err
	}
	lines := make([]string, len(findings))
	for i, f := range findings {
		lines[i] = f.String()
	}
	t.Report.Refused = "a validator would reject the update: " + strings.Join(lines[:min(3, len(lines))], "; ")
	return true, nil
}

// manifest names the bundle's folder and files by the profile.
func (c Bundle) manifest(t *pipeline.Task, meta UpdateMeta) (*network.BundleManifest, error) {
	version, err := c.version(meta)
	if err != nil {
		return nil, err
	}
	id := network.BundleID{Version: version, Step: meta.Steps} // of the weights, whatever steps followed
	if g := t.Plan.Network.ExpertGroup; g != nil {
		id.Group = g.ID
	}
	if meta.Group != nil {
		id.Group = *meta.Group
	}
	p, err := profileOf(t)
	if err != nil {
		return nil, err
	}
	m := &network.BundleManifest{Directory: "update", ID: id,
		Files: []network.BundleFile{{Role: "update", Name: "model.safetensors", Format: "safetensors"}}}
	if p != nil {
		m = p.NewBundleManifest(id)
	}
	m.GroupWhy = meta.GroupWhy
	m.DType, m.Naming, m.StepsRun, m.Base = meta.DType, meta.Naming, meta.StepsRun, meta.Base
	var files []network.BundleFile
	for _, f := range m.Files {
		if f.Format == "safetensors" && f.Role == "update" {
			files = append(files, f)
		} else {
			t.Note("%s (%s) is not written", f.Name, f.Format)
		}
	}
	if m.Files = files; len(files) == 0 {
		return nil, fmt.Errorf("the profile %s takes no update in safetensors", m.Profile)
	}
	return m, nil
}

// version is the network's number of the base that was trained from.
func (c Bundle) version(meta UpdateMeta) (int, error) {
	switch {
	case meta.Base == nil:
		return c.Version, nil
	case c.Version != 0 && c.Version != meta.Base.Version:
		return 0, &pipeline.UsageError{Msg: fmt.Sprintf("bundle.global_version is %d, but the update was trained from %s; "+
			"leave it out", c.Version, meta.Base.Folder)}
	}
	return meta.Base.Version, nil
}

// copyFiles writes the update's bytes under each of the bundle's names.
func (c Bundle) copyFiles(t *pipeline.Task, m *network.BundleManifest) error {
	from := filepath.Join(updateDir(t), updateFile)
	for i := range m.Files {
		f := &m.Files[i]
		h := sha256.New()
		err := t.WriteFile("bundle/"+m.Directory+"/"+f.Name, func(w io.Writer) error {
			in, err := t.FS.Open(from)
			if err != nil {
				return err
			}
			defer in.Close()
			f.Bytes, err = io.Copy(io.MultiWriter(w, h), in)
			return err
		})
		if err != nil {
			return err
		}
		f.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
	return nil
}

// IsBundle reports whether a folder is a bundle: it holds a manifest.
func IsBundle(fsys store.FS, dir string) bool {
	return store.Exists(fsys, filepath.Join(dir, manifestName)) && !store.Exists(fsys, filepath.Join(dir, "run.json"))
}

// VerifyBundle checks every file of a bundle against its manifest, and the model hash
// against the tensors.
func VerifyBundle(fsys store.FS, dir string) ([]pipeline.Check, error) {
	data, err := store.ReadAll(fsys, filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	m, err := network.ParseBundleManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err)
	}
	var checks []pipeline.Check
	for _, f := range m.Files {
		name := filepath.Join(dir, m.Directory, f.Name)
		check := func(what string, err error) {
			c := pipeline.Check{What: f.Name + ", " + what}
			if err != nil {
				c.Fault = err.Error()
			}
			checks = append(checks, c)
		}
		check("sha256", verifySHA256(fsys, name, f.SHA256))
		check("model hash", verifyModelHash(fsys, name, m.Hash))
	}
	return checks, nil
}

func verifySHA256(fsys store.FS, name, want string) error {
	got, err := pipeline.FileSHA256(fsys, name)
	if err == nil && got != want {
		err = fmt.Errorf("is %s, the manifest says %s; make the bundle again", got, want)
	}
	return err
}

func verifyModelHash(fsys store.FS, name, want string) error {
	f, err := checkpoint.Open(fsys, name)
	if err != nil {
		return err
	}
	defer f.Close()
	tensors, err := checkpoint.Tensors(f)
	if err != nil {
		return err
	}
	got, err := checkpoint.Hash(tensors)
	if err == nil && got != want {
		err = fmt.Errorf("is %s, the manifest says %s; make the bundle again", got, want)
	}
	return err
}
