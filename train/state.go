package train

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// stateVersion is that of the files' format and of the meaning of what they hold.
const stateVersion = 1

// statesKept is how many states a directory keeps.
const statesKept = 2

// Prefixes of the tensors in a state.
const (
	weightsPrefix = "weights/"
	firstPrefix   = "first_moment/"
	secondPrefix  = "second_moment/"
)

// fileRecord pins a file next to a state.
type fileRecord struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// record is the value of "state" in the JSON file.
type record struct {
	Version int        `json:"version"`
	Build   string     `json:"build"`
	Kernels string     `json:"kernels"`
	Config  string     `json:"config"`
	Tensors fileRecord `json:"tensors"`
	State   state      `json:"state"`
}

// envelope is the JSON file.
type envelope struct {
	SHA256 string          `json:"sha256"`
	State  json.RawMessage `json:"state"`
}

// configHash is the SHA-256 of all that decides the bits of a run on one build and kernel set.
func (r *run) configHash() string {
	type tensorShape struct {
		Name  string
		Shape []int
	}
	all := struct {
		Config    Config
		Identity  string
		Sequences int
		Evaluated bool
		Trainable []tensorShape
		Optimizer string `json:",omitempty"`
	}{
		Config: r.cfg, Identity: r.cfg.Checkpoints.Identity, Sequences: r.reader.order.n,
		Evaluated: r.hooks.Evaluate != nil, Optimizer: r.cfg.Optimizer.FromSHA256,
	}
	for _, p := range r.params {
		all.Trainable = append(all.Trainable, tensorShape{p.Name, p.Shape})
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(err) // numbers are finite: Config.Validate has passed
	}
	return hexHash(data)
}

func hexHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (r *run) path(name string) string { return filepath.Join(r.cfg.Checkpoints.Dir, name) }

func stateName(step int) string   { return fmt.Sprintf("step-%08d.json", step) }
func tensorsName(step int) string { return fmt.Sprintf("step-%08d.safetensors", step) }
func bestName(step int) string    { return fmt.Sprintf("best-%08d.safetensors", step) }

// save writes the state, if there is a directory for it and one is not there already, and removes what
// is no longer needed.
func (r *run) save() error {
	c := r.cfg.Checkpoints
	if c.Dir == "" || r.state.Step == 0 || r.state.Step == r.saved {
		return nil
	}
	if r.hooks.BeforeState != nil {
		r.hooks.BeforeState(r.state.Step)
	}
	tensors, err := r.writeTensors(tensorsName(r.state.Step), true)
	if err != nil {
		return err
	}
	rec := record{
		Version: stateVersion, Build: c.Build, Kernels: r.m.Device().Name(), Config: r.config,
		Tensors: tensors, State: r.state,
	}
	if err := r.writeRecord(rec); err != nil {
		return err
	}
	r.saved = r.state.Step
	return r.prune()
}

func (r *run) writeRecord(rec record) error {
	inner, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	data, err := json.Marshal(envelope{hexHash(inner), inner})
	if err != nil {
		return err
	}
	return store.WriteBytes(r.cfg.Checkpoints.FS, r.path(stateName(rec.State.Step)), append(data, '\n'))
}

// writeTensors writes the trainable weights, and the moments if asked, and returns what pins them.
func (r *run) writeTensors(name string, moments bool) (fileRecord, error) {
	var tensors []checkpoint.Tensor
	for i, p := range r.params {
		tensors = append(tensors, r.stored(weightsPrefix, p, p.Values))
		if moments {
			tensors = append(tensors, r.storedMoments(i, p)...)
		}
	}
	file, err := writeHashed(r.cfg.Checkpoints.FS, r.path(name), tensors, nil)
	if err != nil {
		return fileRecord{}, fmt.Errorf("training state: %w", err)
	}
	return file, nil
}

// writeHashed writes a safetensors file durably and returns what pins it.
func writeHashed(fsys store.FS, path string, tensors []checkpoint.Tensor, metadata map[string]string) (fileRecord, error) {
	hash, counted := sha256.New(), &counter{}
	err := store.WriteFile(fsys, path, func(w io.Writer) error {
		buffered := bufio.NewWriterSize(w, 1<<20)
		if err := checkpoint.Write(io.MultiWriter(buffered, hash, counted), tensors, metadata); err != nil {
			return err
		}
		return buffered.Flush()
	})
	return fileRecord{filepath.Base(path), counted.bytes, hex.EncodeToString(hash.Sum(nil))}, err
}

// stored describes a tensor that is read from the device and encoded when it is written.
func (r *run) stored(prefix string, p *model.Param, values func() []float32) checkpoint.Tensor {
	return checkpoint.Tensor{
		Name: prefix + p.Name, DType: checkpoint.F32, Shape: p.Shape,
		Read: func() ([]byte, error) {
			v := values()
			if err := r.m.Device().Err(); err != nil {
				return nil, err
			}
			return checkpoint.FromFloat32(checkpoint.F32, v)
		},
	}
}

// storedMoments describes a trainable tensor's moments. They come from the device together, when the first are written.
func (r *run) storedMoments(i int, p *model.Param) []checkpoint.Tensor {
	var second []float32
	read := func() (first []float32) {
		first, second = r.m.Device().ReadMoments(r.moments[i])
		return first
	}
	return []checkpoint.Tensor{
		r.stored(firstPrefix, p, read),
		r.stored(secondPrefix, p, func() []float32 {
			if second == nil {
				read()
			}
			values := second
			second = nil // one tensor's copy at a time is enough
			return values
		}),
	}
}

type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) { c.bytes += int64(len(p)); return len(p), nil }

// prune removes all but the newest states and the best weights that they speak of. A state of a later
// step than the run's is one that was passed over.
func (r *run) prune() error {
	fsys, dir := r.cfg.Checkpoints.FS, r.cfg.Checkpoints.Dir
	steps, names, err := listStates(fsys, dir)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	if r.state.BestFile != nil {
		needed[r.state.BestFile.Name] = true
	}
	steps = slices.DeleteFunc(steps, func(step int) bool { return step > r.state.Step })
	for _, step := range steps[:min(statesKept, len(steps))] {
		needed[stateName(step)], needed[tensorsName(step)] = true, true
		if rec, err := readRecord(fsys, r.path(stateName(step))); err == nil && rec.State.BestFile != nil {
			needed[rec.State.BestFile.Name] = true
		}
	}
	return removeAllBut(fsys, dir, names, needed)
}

// removeAllBut deletes files of a state directory, states before the tensors that they speak of.
func removeAllBut(fsys store.FS, dir string, names []string, needed map[string]bool) error {
	for _, records := range []bool{true, false} {
		for _, name := range names {
			if needed[name] || (filepath.Ext(name) == ".json") != records {
				continue
			}
			if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("training state: %w", err)
			}
		}
		if err := fsys.SyncDir(dir); err != nil {
			return fmt.Errorf("training state: %w", err)
		}
	}
	return nil
}

// listStates returns the steps of the states in a directory, newest first, and the names of all
// files that a run may have left there. A directory that is not there is empty.
func listStates(fsys store.FS, dir string) (steps []int, names []string, err error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("training state: %w", err)
	}
	for _, e := range entries {
		var step int
		name := e.Name()
		switch n, _ := fmt.Sscanf(name, "step-%d.json", &step); {
		case n == 1 && name == stateName(step):
			steps = append(steps, step)
		case n == 1 && name == tensorsName(step), store.IsTemp(name):
		default:
			n, _ := fmt.Sscanf(name, "best-%d.safetensors", &step)
			if n != 1 || name != bestName(step) {
				continue
			}
		}
		names = append(names, name)
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps, names, nil
}
