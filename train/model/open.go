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
	m, err := FromSource(cfg, weights, Hold{Own: own}, dev)
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

// FromSource makes a model of a configuration and weights from anywhere, as [OpenGroup] does, and holds
// them as it is told. On the processor the slices that weights gives become the model's own.
func FromSource(cfg Config, weights checkpoint.Source, hold Hold, dev tensor.Device) (*Model, error) {
	m, err := build(cfg, dev, hold.Own)
	if err != nil {
		return nil, err
	}
	for i, p := range m.params {
		if err := fits(p, weights); err != nil {
			return nil, err
		}
		if err := p.load(weights, hold.LayersOnHost && m.onHost(p)); err != nil {
			return nil, err
		}
		if hold.OnWeight != nil {
			hold.OnWeight(i+1, len(m.params))
		}
	}
	return m, dev.Err()
}

// load reads a weight, to the device or only to the host's memory.
func (p *Param) load(weights checkpoint.Source, onHost bool) error {
	read, err := p.read(weights, nil)
	switch {
	case err != nil:
		return err
	case onHost:
		p.home = &read
	case read.raw == nil:
		p.w.Data = p.dev.Load(read.values)
	default:
		p.w.Data = p.dev.Alloc(p.dev.Type(), p.Elements())
		read.upload(p.dev, p.w.Data)
	}
	return p.dev.Err()
}

// stored is a weight as it was read: values, or BF16 as it stands in the file, if the device keeps it so.
type stored struct {
	values []float32
	raw    []byte
}

// read reads a weight, into dst if that has room.
func (p *Param) read(weights checkpoint.Source, dst []float32) (s stored, err error) {
	if info, _ := weights.Info(p.Name); info.DType == checkpoint.BF16 && p.dev.Type() == tensor.BF16 {
		s.raw, err = weights.Bytes(p.Name)
	} else {
		s.values, err = weights.Float32(p.Name, dst)
	}
	return s, err
}

func (s stored) upload(dev tensor.Device, dst tensor.Array) {
	if s.raw != nil {
		dev.UploadBF16(dst, s.raw)
	} else {
		dev.Upload(dst, s.values)
	}
}
