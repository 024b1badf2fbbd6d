package model

import (
	"errors"
	"fmt"
	"path/filepath"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// ConfigFile is the name of the configuration in a model folder.
const ConfigFile = "config.json"

// Open reads a model folder: config.json, and model.safetensors or the shards of its index. Every
// weight must be there in its shape; tensors that the architecture does not have are left alone.
func Open(fsys store.FS, dir string, dev *tensor.Device) (*Model, error) {
	data, err := store.ReadAll(fsys, filepath.Join(dir, ConfigFile))
	if err != nil {
		return nil, err
	}
	cfg, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	weights, err := checkpoint.OpenDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	m, err := FromSource(cfg, weights, dev)
	if err != nil {
		err = fmt.Errorf("%s: %w", dir, err)
	}
	if err := errors.Join(err, weights.Close()); err != nil {
		return nil, err
	}
	return m, nil
}

// FromSource makes a model of a configuration and weights from anywhere, as [Open] does.
func FromSource(cfg Config, weights checkpoint.Source, dev *tensor.Device) (*Model, error) {
	m, err := build(cfg, dev)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		if err := fits(p, weights); err != nil {
			return nil, err
		}
		p.Data, err = weights.Float32(p.Name, make([]float32, elements(p.Shape)))
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}
