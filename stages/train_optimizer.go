package stages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train"
	"bzdata/train/model"
)

// Values of optimizer.
const (
	optimizerReset = "reset"
	optimizerCarry = "carry"
)

const (
	// optimizerDir is where a work directory keeps moments from window to window. Trainings write them there,
	// since they are twice as large as what is trained.
	optimizerDir = positionDir + "/optimizer"
	// optimizerName is what a training in a window began with and left, among its outputs.
	optimizerName = "optimizer.json"
)

// carried is which moments a train stage hands on, in the windows of one work directory. As with [reading],
// the key of a stage in a window does not hold it.
type carried struct {
	// Window is the latest that trained; it began with Before and left After.
	Window string   `json:"window"`
	Before *moments `json:"before,omitempty"`
	After  *moments `json:"after,omitempty"`
	to     string   // the name of After
}

// moments names a file of them.
type moments struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

func optimizerPath(t *pipeline.Task, name string) string {
	return filepath.Join(t.Workdir(), filepath.FromSlash(optimizerDir), name)
}

func carriedPath(t *pipeline.Task) string { return optimizerPath(t, t.Step.Label()+".json") }

// momentsName is the name of the moments that a task leaves.
func momentsName(t *pipeline.Task) string {
	return fmt.Sprintf("%s-%.16s.safetensors", t.Step.Label(), t.Report.Key)
}

// carriesMoments reports whether moments go from window to window.
func (c Train) carriesMoments(p *pipeline.Plan) bool {
	return p.Window != nil && c.Optimizer == optimizerCarry
}

// moments finds the moments to begin with in a window; nil if the plan does not carry them. Those that
// do not fit are left, which is said.
func (c Train) moments(t *pipeline.Task, m *model.Model) (*carried, error) {
	if !c.carriesMoments(t.Plan) {
		return nil, nil
	}
	dir := filepath.Dir(carriedPath(t))
	if err := errors.Join(t.FS.MkdirAll(dir), t.FS.SyncDir(filepath.Dir(dir)), t.FS.SyncDir(t.Workdir())); err != nil {
		return nil, err
	}
	r := &carried{Window: t.Plan.Window.ID, to: momentsName(t)}
	raw, err := store.ReadAll(t.FS, carriedPath(t))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var old carried
	if json.Unmarshal(raw, &old) != nil {
		t.Note("%s is damaged: the optimizer begins anew", carriedPath(t))
		return r, nil
	}
	if r.Before = old.After; old.Window == r.Window {
		r.Before = old.Before
	}
	if r.Before == nil {
		return r, nil
	}
	if err := train.CheckOptimizer(m, r.config(t)); err != nil {
		t.Note("the optimizer begins anew: %v", err)
		r.Before = nil
	}
	return r, nil
}

// config tells the loop of them.
func (r *carried) config(t *pipeline.Task) train.Optimizer {
	if r == nil {
		return train.Optimizer{}
	}
	o := train.Optimizer{FS: t.FS, To: optimizerPath(t, r.to)}
	if r.Before != nil {
		o.From, o.FromSHA256 = optimizerPath(t, r.Before.Name), r.Before.SHA256
	}
	return o
}

// write puts on record what a training has left.
func (r *carried) write(t *pipeline.Task, res train.Result) error {
	if r == nil {
		return nil
	}
	if res.OptimizerSHA256 != "" {
		r.After = &moments{r.to, res.OptimizerSHA256}
	} else {
		t.Note("the optimizer's moments are no finite numbers; the next window begins without")
	}
	return t.WriteFile(optimizerName, func(w io.Writer) error { return json.NewEncoder(w).Encode(r) })
}

// keepMoments lets later windows begin with the moments of this one, and removes those that none needs.
func keepMoments(t *pipeline.Task) error {
	var r carried
	raw, err := ownOutput(t, optimizerName, &r)
	if err != nil || raw == nil { // none: they are not carried
		return err
	}
	needed := map[string]bool{}
	for _, m := range []*moments{r.Before, r.After} {
		if m != nil {
			needed[m.Name] = true
		}
	}
	if r.After != nil && !store.Exists(t.FS, optimizerPath(t, r.After.Name)) {
		return fmt.Errorf("the optimizer's moments, %s, are gone", optimizerPath(t, r.After.Name))
	}
	if old, err := store.ReadAll(t.FS, carriedPath(t)); err != nil || !bytes.Equal(old, raw) {
		if err := store.WriteBytes(t.FS, carriedPath(t), raw); err != nil {
			return err
		}
	}
	return removeMoments(t, needed)
}

// removeMoments removes the stage's files of moments that are not needed.
func removeMoments(t *pipeline.Task, needed map[string]bool) error {
	entries, err := t.FS.ReadDir(filepath.Dir(carriedPath(t)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		key, own := strings.CutPrefix(strings.TrimPrefix(e.Name(), store.TempPrefix), t.Step.Label()+"-")
		if own && len(key) == len("0123456789abcdef.safetensors") && !needed[e.Name()] {
			if err := t.FS.Remove(optimizerPath(t, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// goOn finds what a training in a window goes on from.
func (c *Train) goOn(t *pipeline.Task, m *model.Model, data tokensData) (*reading, *carried, error) {
	read, err := c.position(t, data)
	if err != nil {
		return nil, nil, err
	}
	c.from = read.begin()
	carry, err := c.moments(t, m)
	return read, carry, err
}

// concluded keeps what later windows go on from.
func concluded(t *pipeline.Task) error { return errors.Join(keepPosition(t), keepMoments(t)) }
