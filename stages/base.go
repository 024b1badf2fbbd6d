package stages

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// checkpointRead names the files of the network's checkpoint.
const checkpointRead = "checkpoint"

// readBase is the base model's configuration and weights, and, if the plan names a folder of checkpoints,
// the files of the newest complete one and what says how to read them.
func readBase(p *pipeline.Plan) []pipeline.Read {
	dir := string(p.Network.Base.Model)
	reads := []pipeline.Read{
		{Name: "config", Paths: []string{dir + "/" + model.ConfigFile}},
		{Name: "weights", Paths: []string{dir}, Suffix: ".safetensors"},
	}
	if p.Network.Base.Checkpoints == "" {
		return reads
	}
	find := func(fsys store.FS, path string) ([]string, []string, error) { return findCheckpoint(p, fsys, path) }
	return append(reads, readProfile(p), readGroups(p),
		pipeline.Read{Name: checkpointRead, Paths: []string{string(p.Network.Base.Checkpoints)}, Find: find})
}

// findCheckpoint finds the newest checkpoint that is complete by the plan's profile and expert group.
func findCheckpoint(p *pipeline.Plan, fsys store.FS, path string) (files, remarks []string, err error) {
	var expect []string
	if p.Network.Profile != "" {
		profile, err := network.Find(fsys, p.Dir(), p.Network.Profile)
		if err != nil {
			return nil, nil, err
		}
		expect = profile.CheckpointFiles(p.Network.ExpertGroup.Number())
	}
	found, passed, err := checkpoint.Newest(fsys, path, expect)
	switch {
	case err != nil && (len(passed) > 0 || !errors.Is(err, checkpoint.ErrNone) && !errors.Is(err, fs.ErrNotExist)):
		return nil, nil, fmt.Errorf("network.base.checkpoints: %w", err) // one may be complete soon
	case err != nil:
		return nil, nil, &pipeline.UsageError{Err: err, Msg: fmt.Sprintf("network.base.checkpoints: %v; fetch one, or leave "+
			"checkpoints out to start from the base model", err)}
	}
	for _, f := range passed {
		remarks = append(remarks, f.String())
	}
	return found.Files, remarks, nil
}

// BaseCheckpoint returns the newest complete checkpoint of the plan's network, and remarks about newer
// ones that are not complete. It is nil if the plan names no folder of checkpoints.
func BaseCheckpoint(p *pipeline.Plan, fsys store.FS) (*checkpoint.FolderName, []string, error) {
	if p.Network.Base.Checkpoints == "" {
		return nil, nil, nil
	}
	files, remarks, err := findCheckpoint(p, fsys, p.Path(string(p.Network.Base.Checkpoints)))
	if err != nil {
		return nil, nil, err
	}
	name, ok := checkpoint.ParseFolderName(filepath.Base(store.Dir(files[0])))
	if !ok {
		return nil, nil, fmt.Errorf("%s: its name has no globalver_V", store.Dir(files[0]))
	}
	return &name, remarks, nil
}

// baseModel is the tensors of the base model's folder, with those of the checkpoint in place
// of its own.
type baseModel struct {
	checkpoint.Source
	config model.Config
	from   *checkpoint.FolderName // of the checkpoint, nil without
	over   checkpoint.Source      // the checkpoint's tensors, nil without
	open   []io.Closer
}

// Close releases the files.
func (b *baseModel) Close() error {
	var errs []error
	for _, c := range b.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// openWeights opens the base model that a task reads. No values are read.
func openWeights(t *pipeline.Task) (*baseModel, error) {
	dir := t.Plan.Path(string(t.Plan.Network.Base.Model))
	config, err := model.ReadConfig(t.Inputs, dir)
	if err != nil {
		return nil, baseError(err)
	}
	weights, err := checkpoint.OpenDir(t.Inputs, dir)
	if err != nil {
		return nil, baseError(err)
	}
	b := &baseModel{Source: weights, config: config, open: []io.Closer{weights}}
	if files := t.Files(checkpointRead); len(files) > 0 {
		if err := b.overlay(t, files); err != nil {
			err = fmt.Errorf("network.base.checkpoints: %s: %w", store.Dir(files[0]), err)
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}

// overlay puts a checkpoint's tensors, each of which must be one of the model's, over the base's.
func (b *baseModel) overlay(t *pipeline.Task, files []string) error {
	name, ok := checkpoint.ParseFolderName(filepath.Base(store.Dir(files[0])))
	if !ok {
		return errors.New("its name has no globalver_V")
	}
	naming := checkpoint.Native
	profile, err := profileOf(t)
	if err != nil {
		return err
	}
	if profile != nil {
		naming = profile.Naming()
	}
	groups, err := groupsOf(t.Inputs, t.Plan)
	if err != nil {
		return err
	}
	over, err := checkpoint.OpenFiles(t.Inputs, files, naming, groups)
	if err != nil {
		return err
	}
	b.open = append(b.open, over)
	if err := model.CheckUpdate(b.config, over); err != nil {
		return err
	}
	b.from, b.over = &name, over
	b.Source, err = checkpoint.Overlay(b.Source, over)
	t.Note("the base is checkpoint %s, global version %d: %d of its tensors stand in for the base model's", name.Folder,
		name.Version, len(over.Names()))
	return err
}

// wrap says where a fault of the weights is.
func (b *baseModel) wrap(t *pipeline.Task, err error) error {
	if err == nil {
		return nil
	}
	return baseError(fmt.Errorf("%s: %w", t.Plan.Path(string(t.Plan.Network.Base.Model)), err))
}

func baseError(err error) error {
	return fmt.Errorf("base model %w; check network.base.model, or fetch it again", err)
}
