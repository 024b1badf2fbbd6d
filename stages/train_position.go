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
)

// Values of data_position.
const (
	positionContinue = "continue"
	positionRestart  = "restart"
)

const (
	// positionDir is where a work directory keeps, from window to window, how far its tokens were read.
	positionDir = "train-state"
	// positionName is what a training in a window has read, among its outputs.
	positionName = "position.json"
)

// reading is how far a train stage has read its tokens, in the windows of one work directory. The key of a
// stage in a window does not hold it: a window always begins where the one before it ended, also when it
// is repeated.
type reading struct {
	// DataKey, OrderSeed and Sequences name the tokens and the order in which they are read.
	DataKey   string `json:"data_key"`
	OrderSeed uint64 `json:"order_seed"`
	Sequences int    `json:"sequences"`
	// Window is the latest that read on; it drew the sequences from From up to To, over all passes.
	Window string `json:"window"`
	From   int64  `json:"from"`
	To     int64  `json:"to"`
}

// position is where reading begins in a window; nil if it always begins anew.
func (c Train) position(t *pipeline.Task, data tokensData) (*reading, error) {
	if t.Plan.Window == nil || c.DataPosition == positionRestart {
		return nil, nil
	}
	r := &reading{DataKey: data.part.DataKey, OrderSeed: t.Seed("order"), Sequences: data.Sequences(), Window: t.Plan.Window.ID}
	name := r.file(t)
	raw, err := store.ReadAll(t.FS, name)
	var old reading
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, r.tellOthers(t)
	case err != nil:
		return nil, err
	case json.Unmarshal(raw, &old) != nil || old.From < 0 || old.To < old.From:
		t.Note("%s is damaged: the tokens are read from their beginning", name)
	case old.DataKey != r.DataKey || old.OrderSeed != r.OrderSeed || old.Sequences != r.Sequences:
		t.Note("the seed or the tokens are others than in earlier windows: they are read from their beginning")
	case old.Window == r.Window:
		r.From = old.From
	default:
		r.From = old.To
	}
	return r, nil
}

// begin is how many sequences earlier windows have drawn.
func (r *reading) begin() int64 {
	if r == nil {
		return 0
	}
	return r.From
}

// file is where a work directory keeps it.
func (r *reading) file(t *pipeline.Task) string {
	return filepath.Join(t.Workdir(), positionDir, r.prefix(t)+r.DataKey[:min(16, len(r.DataKey))]+".json")
}

func (r *reading) prefix(t *pipeline.Task) string { return t.Step.Label() + "-" }

// tellOthers says that the stage has read other tokens before.
func (r *reading) tellOthers(t *pipeline.Task) error {
	entries, err := t.FS.ReadDir(filepath.Join(t.Workdir(), positionDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		key, own := strings.CutPrefix(e.Name(), r.prefix(t))
		if own && len(key) == len(filepath.Base(r.file(t)))-len(r.prefix(t)) {
			t.Note("the tokens are others than in earlier windows: they are read from their beginning")
			return nil
		}
	}
	return nil
}

// write puts on record what a training has drawn.
func (r *reading) write(t *pipeline.Task, res train.Result) error {
	if r == nil {
		return nil
	}
	r.To = res.Position
	t.Figure("data position", "%d sequences of earlier windows and %d of this one, of %d in a pass", r.From, r.To-r.From,
		r.Sequences)
	return t.WriteFile(positionName, func(w io.Writer) error { return json.NewEncoder(w).Encode(r) })
}

// ownOutput decodes an output of the task that a run has concluded; its bytes are nil if it has none.
func ownOutput(t *pipeline.Task, name string, into any) ([]byte, error) {
	raw, err := store.ReadAll(t.FS, filepath.Join(t.OutputDir(), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return raw, json.Unmarshal(raw, into)
}

// keepPosition lets later windows read on where this one ended, once the run has come to its end.
func keepPosition(t *pipeline.Task) error {
	var r reading
	raw, err := ownOutput(t, positionName, &r)
	if err != nil || raw == nil { // none: it always begins anew
		return err
	}
	name := r.file(t)
	if old, err := store.ReadAll(t.FS, name); err == nil && bytes.Equal(old, raw) {
		return nil
	}
	dir := filepath.Dir(name)
	if err := errors.Join(t.FS.MkdirAll(dir), t.FS.SyncDir(t.Workdir()), store.WriteBytes(t.FS, name, raw)); err != nil {
		return fmt.Errorf("%s: %w", positionDir, err)
	}
	return nil
}
