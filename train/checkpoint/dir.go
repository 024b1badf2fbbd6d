package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/go-json-experiment/json"

	"bzdata/pipeline/store"
)

// The files of a Hugging Face model folder that hold weights.
const (
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
)

// Dir is the weights of a model folder: one file or many shards.
type Dir struct {
	files map[string]*File // by base name
	where map[string]*File // by tensor
	names []string
}

var _ Source = (*Dir)(nil)

// OpenDir opens the weights of a Hugging Face folder: model.safetensors if it is there,
// else the shards that model.safetensors.index.json lists. A shard that is missing, and a
// tensor that its shard does not hold, are errors; a tensor that a shard holds but the
// index does not list is left out.
func OpenDir(fsys store.FS, dir string) (*Dir, error) { return openDir(fsys, dir, false) }

// OpenPartialDir is [OpenDir] for a folder from which shards may be absent: it is as if the index did
// not list their tensors. One shard at least must be there.
func OpenPartialDir(fsys store.FS, dir string) (*Dir, error) { return openDir(fsys, dir, true) }

func openDir(fsys store.FS, dir string, partial bool) (*Dir, error) {
	single := filepath.Join(dir, SingleFile)
	if store.Exists(fsys, single) {
		return openSingle(fsys, single)
	}
	index := filepath.Join(dir, IndexFile)
	if !store.Exists(fsys, index) {
		return nil, fmt.Errorf("%s: neither %s nor %s is there", dir, SingleFile, IndexFile)
	}
	shards, err := readIndex(fsys, index)
	if err != nil {
		return nil, err
	}
	d := &Dir{files: map[string]*File{}, where: map[string]*File{}}
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		if partial && !store.Exists(fsys, filepath.Join(dir, shard)) {
			continue
		}
		if err := d.openShard(fsys, index, shard, shards[shard]); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("%s: none of its %d shards is there", index, len(shards))
	}
	d.names = slices.Sorted(maps.Keys(d.where))
	return d, nil
}

func openSingle(fsys store.FS, path string) (*Dir, error) {
	f, err := Open(fsys, path)
	if err != nil {
		return nil, err
	}
	d := &Dir{files: map[string]*File{SingleFile: f}, where: map[string]*File{}, names: f.names}
	for _, name := range f.names {
		d.where[name] = f
	}
	return d, nil
}

// readIndex returns the tensors of each shard, sorted.
func readIndex(fsys store.FS, path string) (map[string][]string, error) {
	data, err := store.ReadAll(fsys, path)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, fmt.Errorf("%s: weight_map lists no tensor", path)
	}
	shards := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(index.WeightMap)) {
		shard := index.WeightMap[name]
		if shard != filepath.Base(shard) || shard == "." || shard == ".." {
			return nil, fmt.Errorf("%s: tensor %q is in %q, which is no file name", path, name, shard)
		}
		shards[shard] = append(shards[shard], name)
	}
	return shards, nil
}

func (d *Dir) openShard(fsys store.FS, index, shard string, names []string) error {
	f, err := Open(fsys, filepath.Join(filepath.Dir(index), shard))
	if err != nil {
		return fmt.Errorf("%s: shard %s with %q and %d more: %w", index, shard, names[0], len(names)-1, err)
	}
	d.files[shard] = f
	for _, name := range names {
		if _, ok := f.tensors[name]; !ok {
			return fmt.Errorf("%s: tensor %q is not in shard %s", index, name, shard)
		}
		d.where[name] = f
	}
	return nil
}

// Close releases the files.
func (d *Dir) Close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Files lists the base names of the files that hold the weights, sorted.
func (d *Dir) Files() []string { return slices.Sorted(maps.Keys(d.files)) }

// Names implements [Source].
func (d *Dir) Names() []string { return slices.Clone(d.names) }

// Info implements [Source].
func (d *Dir) Info(name string) (Info, bool) {
	if f, ok := d.where[name]; ok {
		return f.Info(name)
	}
	return Info{}, false
}

// Float32 implements [Source].
func (d *Dir) Float32(name string, dst []float32) ([]float32, error) {
	if f, ok := d.where[name]; ok {
		return f.Float32(name, dst)
	}
	return nil, fmt.Errorf("no tensor %q in the model folder", name)
}

// Bytes implements [Source].
func (d *Dir) Bytes(name string) ([]byte, error) {
	if f, ok := d.where[name]; ok {
		return f.Bytes(name)
	}
	return nil, fmt.Errorf("no tensor %q in the model folder", name)
}
