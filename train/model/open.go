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
func Open(fsys store.FS, dir string, dev tensor.Device) (*Model, error) {
	return OpenGroup(fsys, dir, nil, dev)
}

// OpenGroup is [Open] for a model with some routed experts only, by layer; nil means all. Routers
// choose among these, and the bytes of others are not read: they, and shards that hold nothing
// else, may be absent from the folder.
func OpenGroup(fsys store.FS, dir string, own map[int][]int32, dev tensor.Device) (*Model, error) {
	cfg, err := ReadConfig(fsys, dir)
	if err != nil {
		return nil, err
	}
	open := checkpoint.OpenDir
	if own != nil {
		open = checkpoint.OpenPartialDir
	}
	weights, err := open(fsys, dir)
	if err != nil {
		return nil, err
	}
	m, err := FromSource(cfg, weights, own, dev)
	if err != nil {
		err = fmt.Errorf("%s: %w", dir, err)
	}
	if err := errors.Join(err, weights.Close()); err != nil {
		return nil, err
	}
	return m, nil
}

// ReadConfig reads the configuration of a model folder.
func ReadConfig(fsys store.FS, dir string) (Config, error) {
	data, err := store.ReadAll(fsys, filepath.Join(dir, ConfigFile))
	if err != nil {
		return Config{}, err
	}
	cfg, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", dir, err)
	}
	return cfg, nil
}

// FromSource makes a model of a configuration and weights from anywhere, as [OpenGroup] does. On the
// processor the slices that weights gives become the model's own.
func FromSource(cfg Config, weights checkpoint.Source, own map[int][]int32, dev tensor.Device) (*Model, error) {
	m, err := build(cfg, dev, own)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		if err := fits(p, weights); err != nil {
			return nil, err
		}
		values, err := weights.Float32(p.Name, nil)
		if err != nil {
			return nil, err
		}
		p.w.Data = dev.Load(values)
	}
	return m, dev.Err()
}
