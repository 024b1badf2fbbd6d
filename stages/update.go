package stages

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// The files of out/update: the tensors in the network's type and names, and how to read them.
const (
	updateFile = "update.safetensors"
	updateJSON = "update.json"
)

// UpdateMeta is update.json: how to read the update's tensors.
type UpdateMeta struct {
	Naming string `json:"naming"`
	DType  string `json:"dtype"`
	// Steps is the step after which the weights were these, of the StepsRun of the training.
	Steps      int                   `json:"steps"`
	StepsRun   int                   `json:"steps_run"`
	Assignment checkpoint.Assignment `json:"expert_assignment,omitempty"`
	// Group is the number of the expert group, if one was trained; GroupWhy says why it was chosen,
	// where the plan left that to route.
	Group    *int   `json:"expert_group,omitempty"`
	GroupWhy string `json:"expert_group_chosen,omitempty"`
	// Base is the network's checkpoint that was trained from; nil if it was the base model itself.
	Base *checkpoint.FolderName `json:"base_checkpoint,omitempty"`
}

// Update is an update as a run has written it. It is a source of its tensors under the base
// model's own names, read when they are asked for; File has them as they are submitted.
type Update struct {
	checkpoint.Source
	File *checkpoint.File
	Meta UpdateMeta
}

// OpenUpdate opens the update in a folder, such as a run's out/update.
func OpenUpdate(fsys store.FS, dir string) (*Update, error) {
	raw, err := store.ReadAll(fsys, filepath.Join(dir, updateJSON))
	if err != nil {
		return nil, err
	}
	u := &Update{}
	if err := json.Unmarshal(raw, &u.Meta); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, updateJSON), err)
	}
	if u.File, err = checkpoint.Open(fsys, filepath.Join(dir, updateFile)); err != nil {
		return nil, err
	}
	if u.Source, err = u.native(); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return u, nil
}

func (u *Update) native() (checkpoint.Source, error) {
	if u.Meta.Assignment == nil {
		return u.File, nil
	}
	naming, err := checkpoint.ParseNaming(u.Meta.Naming)
	if err != nil {
		return nil, err
	}
	return checkpoint.FromProfile(u.File, naming, u.Meta.Assignment)
}

// Close closes the file of tensors.
func (u *Update) Close() error { return u.File.Close() }

// updateDir is the folder of the update that a task takes.
func updateDir(t *pipeline.Task) string { return filepath.Join(t.Input(pipeline.Update), "update") }

// updateSHA256 is the SHA-256 of the file of the update that a task takes, in hexadecimal.
func updateSHA256(t *pipeline.Task) (string, error) {
	return pipeline.FileSHA256(t.FS, filepath.Join(updateDir(t), updateFile))
}
