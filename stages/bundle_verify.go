package stages

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// IsBundle reports whether a folder is a bundle: it holds a manifest.
func IsBundle(fsys store.FS, dir string) bool {
	return store.Exists(fsys, filepath.Join(dir, manifestName)) && !store.Exists(fsys, filepath.Join(dir, "run.json"))
}

// VerifyBundle checks a bundle against its manifest: that its folder has its files and no others, each with
// its SHA-256; that the tensors are what a validator takes, and have the hash that the network
// knows; and that the messages are as they were written and within the network's limit.
func VerifyBundle(fsys store.FS, dir string) ([]pipeline.Check, error) {
	data, err := store.ReadAll(fsys, filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	m, err := network.ParseBundleManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err)
	}
	v := &bundleVerifier{fsys: fsys, dir: dir, m: m}
	v.check(m.Directory+", files", v.files())
	for _, f := range m.Files {
		name := filepath.Join(dir, m.Directory, f.Name)
		v.check(f.Name+", sha256", verifySHA256(fsys, name, f.SHA256))
		if f.Role == "config" {
			continue
		}
		v.check(f.Name+", tensors", v.tensors(name, f))
		if m.HashKind == "blake2b-24" {
			v.check(f.Name+", model hash", v.modelHash(name))
		}
	}
	if m.HashKind != "blake2b-24" {
		v.check(m.HashKind+" hash", v.otherHash())
	}
	for _, msg := range m.Messages {
		v.check(msg.File, v.message(msg))
	}
	return v.checks, nil
}

type bundleVerifier struct {
	fsys   store.FS
	dir    string
	m      *network.BundleManifest
	checks []pipeline.Check
}

func (v *bundleVerifier) check(what string, err error) {
	c := pipeline.Check{What: what}
	if err != nil {
		c.Fault = err.Error()
	}
	v.checks = append(v.checks, c)
}

// files looks for files that the manifest does not have: networks read every one of the folder.
func (v *bundleVerifier) files() error {
	entries, err := v.fsys.ReadDir(filepath.Join(v.dir, v.m.Directory))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.ContainsFunc(v.m.Files, func(f network.BundleFile) bool { return f.Name == e.Name() }) {
			return fmt.Errorf("%s is there, but not in the manifest; remove it", e.Name())
		}
	}
	return nil
}

// open opens a file of weights, which must be of the format that the manifest says.
func (v *bundleVerifier) open(name, format string) (*checkpoint.File, error) {
	if format == "torch" {
		return checkpoint.OpenTorch(v.fsys, name)
	}
	return checkpoint.Open(v.fsys, name)
}

// tensors holds a file's tensors against the rules of [checkpoint.Lint] that need no base.
func (v *bundleVerifier) tensors(name string, f network.BundleFile) error {
	file, err := v.open(name, f.Format)
	if err != nil {
		return err
	}
	defer file.Close()
	naming, err := checkpoint.ParseNaming(v.m.Naming)
	if err != nil {
		return err
	}
	rules := checkpoint.Rules{Naming: naming, Group: v.m.Assignment}
	if f.Role == "update" {
		dtype, err := checkpoint.ParseDType(v.m.DType)
		if err != nil {
			return err
		}
		rules.DTypes = []checkpoint.DType{dtype}
	} else {
		rules.Group = nil
	}
	findings, err := checkpoint.Lint(file, rules)
	switch n := len(file.Names()); {
	case err != nil:
		return err
	case len(findings) > 0:
		return errors.New(findings[0].String())
	case n != v.m.Tensors:
		return fmt.Errorf("has %d tensors, the manifest says %d; make the bundle again", n, v.m.Tensors)
	}
	return nil
}

func (v *bundleVerifier) modelHash(name string) error {
	f, err := checkpoint.OpenAny(v.fsys, name)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := modelHash(f)
	return v.sameHash(got, err)
}

func (v *bundleVerifier) sameHash(got string, err error) error {
	if err == nil && got != v.m.Hash {
		err = fmt.Errorf("is %s, the manifest says %s; make the bundle again", got, v.m.Hash)
	}
	return err
}

// otherHash checks the hash of a network that takes it of files.
func (v *bundleVerifier) otherHash() error {
	folder := filepath.Join(v.dir, v.m.Directory)
	switch {
	case v.m.HashKind == "sha256" && len(v.m.Files) > 0:
		return v.sameHash(pipeline.FileSHA256(v.fsys, filepath.Join(folder, v.m.Files[0].Name)))
	case v.m.HashKind == "sn9-folder":
		return v.sameHash(network.FolderHash(v.fsys, folder))
	}
	return fmt.Errorf("the manifest's hash_kind %q is not known", v.m.HashKind)
}

func (v *bundleVerifier) message(msg network.MessageFile) error {
	data, err := store.ReadAll(v.fsys, filepath.Join(v.dir, msg.File))
	switch {
	case err != nil:
		return err
	case string(data) != msg.Text:
		return errors.New("is not what the manifest says; make the bundle again")
	case len(msg.Blanks) == 0 && msg.BytesMax > 0 && len(data) > msg.BytesMax:
		return fmt.Errorf("has %d bytes; the network takes %d", len(data), msg.BytesMax)
	case strings.Contains(msg.Text, `"h"`) && !strings.Contains(msg.Text, v.m.Hash):
		return errors.New("has another hash than the manifest")
	}
	return nil
}

func verifySHA256(fsys store.FS, name, want string) error {
	got, err := pipeline.FileSHA256(fsys, name)
	if err == nil && got != want {
		err = fmt.Errorf("is %s, the manifest says %s; make the bundle again", got, want)
	}
	return err
}
