package train

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// Optimizer says where AdamW's moments come from and go to, besides a run's own states. Such a file is a
// safetensors file of first_moment/NAME and second_moment/NAME for each trainable tensor, in F32, whose
// metadata count the updates of each NAME.
type Optimizer struct {
	FS store.FS
	// From is the file of an earlier run with the same trainable tensors, which [CheckOptimizer] has found
	// sound; empty begins with none. FromSHA256 is its hash in hexadecimal, by which the run is known.
	From, FromSHA256 string
	// To is where the moments of the last step are written when the run ends, in a directory that is
	// there; empty writes none. Moments that are no finite numbers are not written.
	To string
}

// CheckOptimizer reports what is wrong with o.From for a model's trainable tensors.
func CheckOptimizer(m *model.Model, o Optimizer) error {
	f, err := o.FS.Open(o.From)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != o.FromSHA256 {
		return fmt.Errorf("%s is damaged: its SHA-256 is %s, not %s", o.From, got, o.FromSHA256)
	}
	moments, err := checkpoint.Open(o.FS, o.From)
	if err != nil {
		return err
	}
	return errors.Join(fitMoments(m, moments, o.From), moments.Close())
}

// fitMoments asks for moments of just the trainable tensors.
func fitMoments(m *model.Model, f *checkpoint.File, path string) error {
	trainable, updates := 0, f.Metadata()
	for _, p := range m.Params() {
		if !p.Trains() {
			continue
		}
		trainable++
		for _, prefix := range []string{firstPrefix, secondPrefix} {
			if info, ok := f.Info(prefix + p.Name); !ok || !slices.Equal(info.Shape, p.Shape) {
				return fmt.Errorf("%s has no moments of %s with shape %v: other tensors were trained", path, p.Name, p.Shape)
			}
		}
		if n, err := strconv.Atoi(updates[p.Name]); err != nil || n < 0 {
			return fmt.Errorf("%s does not count the updates of %s", path, p.Name)
		}
	}
	if got := len(f.Names()); got != 2*trainable {
		return fmt.Errorf("%s has %d moments, and %d tensors are trained", path, got, trainable)
	}
	return nil
}

// loadOptimizer begins with the moments of an earlier run. A run that is resumed has its own.
func (r *run) loadOptimizer() error {
	o := r.cfg.Optimizer
	if o.From == "" || r.state.Step > 0 {
		return nil
	}
	f, err := checkpoint.Open(o.FS, o.From)
	if err != nil {
		return err
	}
	errs := []error{fitMoments(r.m, f, o.From)}
	if errs[0] == nil {
		updates := f.Metadata()
		for i, p := range r.params {
			first, err1 := f.Float32(firstPrefix+p.Name, nil)
			second, err2 := f.Float32(secondPrefix+p.Name, nil)
			n, err3 := strconv.Atoi(updates[p.Name])
			errs, r.state.Updates[i] = append(errs, err1, err2, err3), n
			if err1 == nil && err2 == nil {
				r.m.Device().SetMoments(r.moments[i], first, second)
			}
		}
	}
	return errors.Join(append(errs, f.Close())...)
}

// writeOptimizer writes the moments for later runs, if they are to be, and returns the file's SHA-256.
func (r *run) writeOptimizer() (string, error) {
	o := r.cfg.Optimizer
	if o.To == "" {
		return "", nil
	}
	var tensors []checkpoint.Tensor
	updates := map[string]string{}
	for i, p := range r.params {
		first, second := r.m.Device().ReadMoments(r.moments[i])
		if !finiteSquares(first) || !finiteSquares(second) {
			return "", nil
		}
		tensors = append(tensors, r.storedMoments(i, p)...)
		updates[p.Name] = strconv.Itoa(r.state.Updates[i])
	}
	if err := r.m.Device().Err(); err != nil {
		return "", err
	}
	file, err := writeHashed(o.FS, o.To, tensors, updates)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(o.To), err)
	}
	return file.SHA256, nil
}

// finiteSquares reports whether all values are numbers. Squares of single precision cannot overflow double precision.
func finiteSquares(values []float32) bool {
	sum := 0.0
	for _, v := range values {
		sum += float64(v) * float64(v)
	}
	return finite(sum)
}
