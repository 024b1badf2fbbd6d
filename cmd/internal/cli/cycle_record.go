package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// cycleRecord is a line of cycles.jsonl.
type cycleRecord struct {
	ID       string    `json:"id"`
	Version  *int      `json:"global_version,omitempty"` // of the base, if it is a network's checkpoint
	Started  time.Time `json:"started"`
	Deadline time.Time `json:"deadline"`
	Ended    time.Time `json:"ended"`
	// FirstStepS is the time from the start of the process, or in a loop from the moment when the cycle's
	// checkpoint was found, to the first optimizer step that counts.
	FirstStepS float64 `json:"first_step_s,omitempty"`
	Steps      int     `json:"steps,omitempty"`
	TrainKey   string  `json:"train_data_key,omitempty"` // of the tokens that were trained on
	DataKey    string  `json:"data_key,omitempty"`       // of the text that judged
	// DifferenceNats is the change of the held-out loss for each token, with its interval.
	DifferenceNats *float64    `json:"difference_nats,omitempty"`
	IntervalNats   *[2]float64 `json:"interval_nats,omitempty"`
	Verdict        string      `json:"verdict,omitempty"`
	Bundle         string      `json:"bundle,omitempty"`
	Hash           string      `json:"hash,omitempty"`
	Missed         bool        `json:"missed"` // there is no bundle, since it was too late
	Error          string      `json:"error,omitempty"`
}

// sameWindow is how far the deadlines of two starts of one cycle may lie apart: blocks are not exactly
// as long as they should be.
const sameWindow = 2 * time.Minute

// readCycles reads the cycles on record, none if there is no record.
func readCycles(fsys store.FS, workdir string) ([]cycleRecord, error) {
	name := filepath.Join(workdir, pipeline.WindowsName)
	data, err := store.ReadAll(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []cycleRecord
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var r cycleRecord
		if err == nil && len(line) > 0 {
			if err = json.Unmarshal(line, &r); err != nil {
				err = fmt.Errorf("%s line %d: %w; mend or move the file", name, i+1, err)
			}
			out = append(out, r)
		}
	}
	return out, err
}

// newestUsed is the cycle that has bundled on the newest checkpoint, nil if there is none.
func newestUsed(past []cycleRecord) *cycleRecord {
	var newest *cycleRecord
	for i := range past {
		p := &past[i]
		if p.Bundle != "" && p.Version != nil && (newest == nil || *p.Version > *newest.Version) {
			newest = p
		}
	}
	return newest
}

// window names the cycle: as the one that was interrupted, if it is the same, or anew, and then bundle
// and verdict of an earlier one go.
func (c *cycle) window() (id string, err error) {
	fsys, dir := c.opt.FS, c.opt.Workdir
	version := -1
	if c.record.Version != nil {
		version = *c.record.Version
	}
	if _, err := readCycles(fsys, dir); err != nil {
		return "", err // the record could not be added to in the end
	}
	name := filepath.Join(dir, pipeline.WindowName)
	data, err := store.ReadAll(fsys, name)
	var before cycleRecord
	if err == nil && json.Unmarshal(data, &before) == nil {
		apart := before.Deadline.Sub(c.record.Deadline).Abs()
		same := (before.Version == nil) == (c.record.Version == nil) && (before.Version == nil || *before.Version == version)
		if same && apart <= sameWindow {
			c.record.ID, c.record.Started = before.ID, before.Started
			return before.ID, nil
		}
	}
	c.record.ID = fmt.Sprintf("version %d, from %s", version, c.clock.now().UTC().Format(time.RFC3339Nano))
	if err := pipeline.CheckWorkdir(fsys, dir, c.plan.File); err != nil {
		return "", err
	}
	if err := errors.Join(fsys.MkdirAll(dir), removeResults(fsys, dir)); err != nil {
		return "", err
	}
	data, err = json.Marshal(c.record)
	if err != nil {
		return "", err
	}
	return c.record.ID, store.WriteBytes(fsys, name, append(data, '\n'))
}

// finish puts the cycle on record.
func (c *cycle) finish(runErr error) error {
	fsys, dir := c.opt.FS, c.opt.Workdir
	c.record.Ended, c.record.Deadline = c.clock.now().UTC().Truncate(time.Second), c.clock.deadline().UTC()
	var late *pipeline.LateError
	if c.record.Missed = errors.As(runErr, &late); runErr != nil {
		c.record.Error = runErr.Error()
	}
	if err := errors.Join(c.figures(runErr), c.bundle(runErr)); err != nil {
		return err
	}
	past, err := readCycles(fsys, dir)
	if err != nil {
		return err
	}
	var all bytes.Buffer
	e := json.NewEncoder(&all)
	for _, r := range append(past, c.record) {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	if err := store.WriteBytes(fsys, filepath.Join(dir, pipeline.WindowsName), all.Bytes()); err != nil {
		return err
	}
	return fsys.Remove(filepath.Join(dir, pipeline.WindowName))
}

// figures takes over what the run has found. Of a run that failed, before its verdict or behind it, what is there may be
// of an earlier cycle.
func (c *cycle) figures(runErr error) error {
	var update struct {
		Steps int `json:"steps_run"`
	}
	var score struct {
		Difference *float64    `json:"difference_nats"`
		Interval   *[2]float64 `json:"interval_nats"`
		DataKey    string      `json:"data_key"`
		Verdict    struct {
			Outcome string `json:"outcome"`
		} `json:"verdict"`
	}
	var gate *pipeline.GateError
	switch {
	case c.record.Missed:
		return nil
	case runErr != nil && !errors.As(runErr, &gate):
		return c.trainKey()
	}
	err := errors.Join(c.readOut("update/update.json", &update), c.readOut("score.json", &score), c.trainKey())
	c.record.Steps, c.record.DifferenceNats, c.record.IntervalNats = update.Steps, score.Difference, score.Interval
	c.record.DataKey, c.record.Verdict = score.DataKey, score.Verdict.Outcome
	return err
}

// trainKey notes which tokens were trained on, if the run came to know.
func (c *cycle) trainKey() error {
	for _, s := range c.plan.Stages {
		if s.Kind.Name != "tokens" {
			continue
		}
		tokens, err := stages.ReadTrialTokens(c.opt.FS, c.opt.Workdir, s.Label())
		if err != nil && c.record.FirstStepS == 0 {
			return nil // it was over before
		}
		c.record.TrainKey = tokens.TrainKey
		return err
	}
	return nil
}

// readOut reads a file under out/ if it is there.
func (c *cycle) readOut(name string, into any) error {
	data, err := store.ReadAll(c.opt.FS, filepath.Join(c.opt.Workdir, "out", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, json.Unmarshal(data, into))
}

// bundle notes where the bundle is.
func (c *cycle) bundle(runErr error) error {
	if runErr != nil {
		return nil
	}
	data, err := store.ReadAll(c.opt.FS, filepath.Join(c.opt.Workdir, "out", "bundle", "manifest.json"))
	if err != nil {
		return err
	}
	m, err := network.ParseBundleManifest(data)
	if err != nil {
		return err
	}
	c.record.Bundle, c.record.Hash = c.absoluteOut(filepath.Join("bundle", m.Directory)), m.Hash
	return nil
}
