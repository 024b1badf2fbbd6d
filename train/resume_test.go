package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// longRun has everything that a state must carry: warm-up, evaluations, a best one that is not the
// last, skipped batches, and more than one epoch.
func longRun(fsys store.FS) (Config, *fakeData) {
	cfg, data := tinyRun(20), newData()
	cfg.NonFinite, cfg.EvalSteps = Skip, 3
	data.poisoned = []int{4, 11}
	if fsys != nil {
		cfg.Checkpoints = Checkpoints{Dir: "run/state", FS: fsys, Steps: 4, Build: "b1", Identity: "base and data"}
	}
	return cfg, data
}

// rising has its lowest value in the middle of the run, as a function of the weights alone.
func rising(start []float32) func(context.Context, *model.Model) (float64, error) {
	return func(_ context.Context, m *model.Model) (float64, error) {
		far := 0.0
		for i, w := range weights(m) {
			if d := float64(w - start[i]); d == d {
				far += d * d
			}
		}
		return (far - 27) * (far - 27), nil
	}
}

// straight is the run without checkpoints or interruption.
func straight(t *testing.T) (Result, []float32) {
	t.Helper()
	cfg, data := longRun(nil)
	m := poisonedModel(t)
	res := mustRun(t, m, data, cfg, Hooks{Evaluate: rising(weights(m))})
	if res.Best.Step < 9 || res.Best.Step > 15 || len(res.NonFinite) == 0 || res.Steps != 20 {
		t.Fatalf("the run does not show what it should: evaluations %+v, %d skips", res.Evaluations, len(res.NonFinite))
	}
	return res, weights(m)
}

// finish runs what is in fsys to its end and compares.
func finish(t *testing.T, fsys store.FS, want Result, wantWeights []float32) Result {
	t.Helper()
	cfg, data := longRun(fsys)
	m := poisonedModel(t)
	var notices []string
	hooks := Hooks{Evaluate: rising(weights(m)), OnNotice: func(s string) { notices = append(notices, s) }}
	got := mustRun(t, m, data, cfg, hooks)
	if !sameBits(weights(m), wantWeights) {
		t.Fatalf("resumed from step %d: other weights; notices %q", got.ResumedFrom, notices)
	}
	resumed := got.ResumedFrom
	got.ResumedFrom = 0
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("resumed from step %d: %+v, want %+v", resumed, got, want)
	}
	got.ResumedFrom = resumed
	return got
}

// TestResume cuts a run off at every step, before and within it, and goes on.
func TestResume(t *testing.T) {
	want, wantWeights := straight(t)
	for _, within := range []bool{false, true} {
		for k := range want.Steps + 1 {
			fsys := store.NewCrashFS()
			cfg, data := longRun(fsys)
			ctx, cancel := context.WithCancel(context.Background())
			m := poisonedModel(t)
			hooks := Hooks{Evaluate: rising(weights(m))}
			if within {
				reads := 0
				data.onRead = func(int) {
					if reads++; reads > k*6+4 {
						cancel()
					}
				}
			} else {
				hooks.OnStep = func(s Metrics) {
					if s.Step == k {
						cancel()
					}
				}
				if k == 0 {
					cancel()
				}
			}
			_, err := Run(ctx, m, data, cfg, hooks)
			cancel()
			if ended := within && k >= want.Steps; !errors.Is(err, context.Canceled) && !ended {
				t.Fatalf("cut off at step %d: %v", k, err)
			}
			got := finish(t, fsys.Crash(store.LoseUnsynced), want, wantWeights)
			if !within && got.ResumedFrom != k {
				t.Errorf("cut off after step %d, resumed from %d", k, got.ResumedFrom)
			}
		}
	}
}

// TestPowerCut cuts the power after every operation on the file system, and goes on from what the disk
// would hold.
func TestPowerCut(t *testing.T) {
	want, wantWeights := straight(t)
	whole := store.NewCrashFS()
	finish(t, whole, want, wantWeights)
	for n := 1; n < whole.Ops(); n += 1 + n/40 {
		fsys := store.NewCrashFS()
		fsys.StopAfter(n)
		cfg, data := longRun(fsys)
		m := poisonedModel(t)
		if _, err := Run(context.Background(), m, data, cfg, Hooks{Evaluate: rising(weights(m))}); err == nil {
			t.Fatalf("the power was cut after %d operations of %d, and the run did not see it", n, whole.Ops())
		}
		modes := []store.CrashMode{store.LoseUnsynced, store.KeepAll, store.Torn(uint64(n))}
		finish(t, fsys.Crash(modes[n%3]), want, wantWeights)
	}
}

// stopped returns a file system that holds a run up to step 14: states 12 and 14.
func stopped(t *testing.T) *store.CrashFS {
	t.Helper()
	fsys := store.NewCrashFS()
	stopAt(t, fsys, 14)
	steps, names, err := listStates(fsys, "run/state")
	if err != nil || !slices.Equal(steps, []int{14, 12}) || len(names) > 6 {
		t.Fatalf("states %v, files %q: %v", steps, names, err)
	}
	return fsys
}

// stopAt goes on with a run and cancels it after a step.
func stopAt(t *testing.T, fsys store.FS, step int) {
	t.Helper()
	cfg, data := longRun(fsys)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m := poisonedModel(t)
	hooks := Hooks{Evaluate: rising(weights(m)), OnStep: func(s Metrics) {
		if s.Step == step {
			cancel()
		}
	}}
	if _, err := Run(ctx, m, data, cfg, hooks); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, fsys store.FS, name string, edit func([]byte) []byte) {
	t.Helper()
	path := filepath.Join("run/state", name)
	data, err := store.ReadAll(fsys, path)
	if err == nil {
		err = store.WriteBytes(fsys, path, edit(data))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	want, wantWeights := straight(t)
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)-9] }
	none := func([]byte) []byte { return nil }
	for i, edit := range []func([]byte) []byte{flip, cut, none} {
		for _, name := range []string{stateName(14), tensorsName(14)} {
			fsys := stopped(t)
			rewrite(t, fsys, name, edit)
			if got := finish(t, fsys, want, wantWeights); got.ResumedFrom != 12 {
				t.Errorf("edit %d of %s: resumed from %d, not from the state before", i, name, got.ResumedFrom)
			}
		}
	}
	fsys := stopped(t)
	rewrite(t, fsys, stateName(14), flip)
	if err := fsys.Remove("run/state/" + tensorsName(12)); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, fsys, want, wantWeights); got.ResumedFrom != 0 {
		t.Errorf("both states damaged, resumed from %d", got.ResumedFrom)
	}
	steps, names, err := listStates(fsys, "run/state")
	if err != nil || !slices.Equal(steps, []int{20, 16}) || len(names) != 5 {
		t.Errorf("a whole run leaves states %v, files %q: %v", steps, names, err)
	}
}

// TestFallback damages the newest state, wherever the run stopped: the one before it must be whole,
// its best weights too, and the damaged one must not stay in the way.
func TestFallback(t *testing.T) {
	want, wantWeights := straight(t)
	for k := 5; k < want.Steps; k++ {
		fsys := store.NewCrashFS()
		stopAt(t, fsys, k)
		rewrite(t, fsys, tensorsName(k), func(b []byte) []byte { return b[1:] })
		before := (k - 1) / 4 * 4
		if got := finish(t, fsys.Crash(store.KeepAll), want, wantWeights); got.ResumedFrom != before {
			t.Errorf("state %d is damaged: resumed from %d, not %d", k, got.ResumedFrom, before)
		}
		if k == before+1 {
			continue
		}
		stopAt(t, fsys, k-1)
		if steps, _, err := listStates(fsys, "run/state"); err != nil || !slices.Equal(steps, []int{k - 1, before}) {
			t.Errorf("state %d was damaged, step %d is reached anew: states %v: %v", k, k-1, steps, err)
		}
	}
}

// TestLeftovers checks that what a crash left of a state is gone before the first step, since states
// are large.
func TestLeftovers(t *testing.T) {
	fsys := stopped(t)
	left := "run/state/" + store.TempPrefix + tensorsName(16)
	if err := store.WriteBytes(fsys, left, []byte("part")); err != nil {
		t.Fatal(err)
	}
	cfg, data := longRun(fsys)
	m := poisonedModel(t)
	mustRun(t, m, data, cfg, Hooks{Evaluate: rising(weights(m)), OnStep: func(s Metrics) {
		if store.Exists(fsys, left) {
			t.Errorf("after step %d the unfinished file is still there", s.Step)
		}
	}})
}

// TestDamagedBest loses the file of the best weights.
func TestDamagedBest(t *testing.T) {
	want, wantWeights := straight(t)
	fsys := stopped(t)
	_, names, err := listStates(fsys, "run/state")
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, name := range names {
		if strings.HasPrefix(name, "best-") {
			rewrite(t, fsys, name, func(b []byte) []byte { b[len(b)-1] ^= 0x40; return b })
			lost++
		}
	}
	if lost == 0 {
		t.Fatalf("no best weights among %q", names)
	}
	finish(t, fsys, want, wantWeights)
}

func TestOtherRuns(t *testing.T) {
	want, wantWeights := straight(t)
	refused := func(what string, edit func(*Config, *fakeData), m *model.Model) {
		fsys := stopped(t)
		cfg, data := longRun(fsys)
		edit(&cfg, data)
		_, err := Run(context.Background(), m, data, cfg, Hooks{Evaluate: rising(weights(m))})
		var re *ResumeError
		if !errors.As(err, &re) || re.What != what {
			t.Errorf("other %s: %v", what, err)
		}
		if got := finish(t, fsys, want, wantWeights); got.ResumedFrom != 14 {
			t.Errorf("other %s: the refused run left a state of step %d", what, got.ResumedFrom)
		}
	}
	refused("configuration", func(c *Config, _ *fakeData) { c.LearningRate *= 2 }, poisonedModel(t))
	refused("configuration", func(c *Config, _ *fakeData) { c.Checkpoints.Identity = "another" }, poisonedModel(t))
	refused("configuration", func(_ *Config, d *fakeData) { d.n++ }, poisonedModel(t))
	fewer := poisonedModel(t)
	fewer.SetTrainable(func(name string) bool { return strings.Contains(name, ".experts.1.") })
	refused("configuration", func(*Config, *fakeData) {}, fewer)
	if len(tensor.Names()) > 1 {
		refused("kernel set", func(*Config, *fakeData) {}, newModel(t, "plain", 1))
	}

	fsys := stopped(t)
	cfg, data := longRun(fsys)
	cfg.Checkpoints.Build = "b2"
	m := poisonedModel(t)
	var notices []string
	hooks := Hooks{Evaluate: rising(weights(m)), OnNotice: func(s string) { notices = append(notices, s) }}
	res := mustRun(t, m, data, cfg, hooks)
	if res.ResumedFrom != 0 || !sameBits(weights(m), wantWeights) || len(notices) != 2 ||
		!strings.Contains(notices[0], "build b1") {
		t.Errorf("another build resumed from %d, notices %q", res.ResumedFrom, notices)
	}
}

// TestCheckpointSteps checks that how often states are written is not part of the configuration.
func TestCheckpointSteps(t *testing.T) {
	want, wantWeights := straight(t)
	for _, every := range []int{0, 1, 7} {
		fsys := stopped(t)
		cfg, data := longRun(fsys)
		cfg.Checkpoints.Steps = every
		m := poisonedModel(t)
		res := mustRun(t, m, data, cfg, Hooks{Evaluate: rising(weights(m))})
		if res.ResumedFrom != 14 || !sameBits(weights(m), wantWeights) || res.Steps != want.Steps {
			t.Errorf("state every %d steps: %+v", every, res)
		}
	}
}

// TestFullDisk checks that a state that cannot be written ends the run and leaves the one before.
func TestFullDisk(t *testing.T) {
	want, wantWeights := straight(t)
	fsys := store.NewCrashFS()
	cfg, data := longRun(fsys)
	full := errors.New("disk full")
	m := poisonedModel(t)
	hooks := Hooks{Evaluate: rising(weights(m)), OnStep: func(s Metrics) {
		if s.Step == 7 {
			fsys.FailWrites(1000, full)
		}
	}}
	if _, err := Run(context.Background(), m, data, cfg, hooks); !errors.Is(err, full) {
		t.Fatalf("error %v", err)
	}
	fsys.FailWrites(0, nil)
	if got := finish(t, fsys, want, wantWeights); got.ResumedFrom != 4 {
		t.Errorf("resumed from %d", got.ResumedFrom)
	}
}

// FuzzState feeds arbitrary bytes to the reader of states: it must refuse them or give what they say.
func FuzzState(f *testing.F) {
	inner, err := json.Marshal(record{Version: 1, Build: "b", State: state{
		Step: 3, Metrics: []Metrics{{Step: 1, LossNats: 2.5}}, Evaluations: []Evaluation{{Step: 0, LossNats: 1}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fmt.Appendf(nil, `{"sha256":%q,"state":%s}`, hexHash(inner), inner))
	f.Add([]byte(`{"sha256":"","state":{}}`))
	f.Add([]byte(fmt.Sprintf(`{"sha256":%q,"state":null}`, hexHash([]byte("null")))))
	f.Add([]byte(fmt.Sprintf(`{"sha256":%q,"state":[1]}`, hexHash([]byte("[1]")))))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := store.NewCrashFS()
		if err := store.WriteBytes(fsys, "/s.json", data); err != nil {
			t.Fatal(err)
		}
		rec, err := readRecord(fsys, "/s.json")
		if err != nil {
			if !errors.As(err, &damage{}) {
				t.Fatalf("%v is not called damage", err)
			}
			return
		}
		again, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		var other record
		if err := json.Unmarshal(again, &other); err != nil {
			t.Fatal(err)
		}
		third, err := json.Marshal(other)
		if err != nil || string(third) != string(again) {
			t.Fatalf("%s, and again %s: %v", again, third, err)
		}
	})
}
