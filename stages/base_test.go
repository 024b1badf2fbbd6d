package stages_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

// overlayPlan trains an expert group from a network's checkpoint.
const overlayPlan = `
name: overlay
seed: 3
network:
  profile: connito
  expert_group: 0
  expert_groups: expert_groups
  base: {model: base, checkpoints: checkpoints}
input:
  - path: data/*.jsonl
held_out: {fraction: 0.3}
stages:
  - exact_dedup: {}
  - tokenize: {sequence_length: 64}
  - train: {max_steps: 6, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, naming: v2lite-fused, eval_steps: 3}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

// profiled parses a plan that names a network's profile.
func profiled(t *testing.T, dir, plan string) *pipeline.Plan {
	t.Helper()
	p, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(plan), stages.All(), pipeline.ParseOptions{
		Complete: stages.Complete,
		Profile: func(name string) (map[string]any, string, error) {
			p, err := network.Load(name)
			if err != nil {
				return nil, "", err
			}
			return p.Defaults(), p.Name, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// putTensors writes a file of weights by its extension.
func putTensors(t *testing.T, name string, tensors []checkpoint.Tensor) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	err := store.WriteFile(store.OS(), name, func(w io.Writer) error {
		if strings.HasSuffix(name, ".pt") {
			return checkpoint.WriteTorch(w, tensors)
		}
		return checkpoint.Write(w, tensors, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkpointOf writes a checkpoint as the network does: the group's experts, joined as its naming has
// them, and the tensors that all share, each value of the base doubled. It returns the tensors under
// native names.
func checkpointOf(t *testing.T, dir, folder string) []checkpoint.Tensor {
	t.Helper()
	f, err := checkpoint.Open(store.OS(), filepath.Join(dir, "base", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var experts, shared []checkpoint.Tensor
	for _, name := range f.Names() {
		values, err := f.Float32(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			values[i] *= 2
		}
		info, _ := f.Info(name)
		tensor, err := checkpoint.NewTensor(name, checkpoint.F32, info.Shape, values)
		if err != nil {
			t.Fatal(err)
		}
		switch e, ok := checkpoint.Native.Parse(name); {
		case ok && e.Expert < 2:
			experts = append(experts, tensor)
		case name == "lm_head.weight" || strings.Contains(name, "shared_experts"):
			shared = append(shared, tensor)
		}
	}
	group := checkpoint.Assignment{1: {{My: 0, Org: 0}, {My: 1, Org: 1}}}
	joined, err := checkpoint.V2LiteFused.ToProfile(group, experts)
	if err != nil {
		t.Fatal(err)
	}
	putTensors(t, filepath.Join(dir, "checkpoints", folder, "model_expgroup_0.pt"), joined)
	putTensors(t, filepath.Join(dir, "checkpoints", folder, "model_shared.pt"), shared)
	return append(experts, shared...)
}

func overlayCorpus(t *testing.T) string {
	t.Helper()
	dir := modelCorpus(t, 120)
	write(t, filepath.Join(dir, "expert_groups", "exp_math", "config.yaml"), "group_id: 0\n")
	write(t, filepath.Join(dir, "expert_groups", "exp_math", "expert_assignment.json"), `{"1": [[0, 0], [1, 1]]}`)
	return dir
}

// TestOverlay checks that a run from base and checkpoint gives the bytes of a run from a base model
// into which the checkpoint's tensors were written, and says what it came from.
func TestOverlay(t *testing.T) {
	dir := overlayCorpus(t)
	over := checkpointOf(t, dir, "run/globalver_17_inneropt_2")
	write(t, filepath.Join(dir, "checkpoints", "globalver_18", "model_expgroup_0.pt"), "PK") // still arriving
	opt := options(dir)
	var notes []string
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind != "note" {
			return
		}
		if notes = append(notes, e.Note); !store.Exists(store.OS(), opt.Workdir) {
			t.Error("a note is told before there is a work directory")
		}
	}
	res, err := pipeline.Run(context.Background(), profiled(t, dir, overlayPlan), opt)
	if err != nil {
		t.Fatal(err)
	}
	work, err := pipeline.Outlook(profiled(t, dir, overlayPlan), options(dir))
	if err != nil || !slices.ContainsFunc(work.Stages, func(s pipeline.StageWork) bool {
		return s.Label == "train" && s.Reused && strings.Contains(s.Note, "globalver_18 is passed over")
	}) {
		t.Errorf("the outlook says nothing of the checkpoint: %+v, %v", work, err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "globalver_18 is passed over: ") {
		t.Errorf("notes %q", notes)
	}
	figures := map[string]string{}
	for _, s := range res.Stages {
		for _, f := range s.Summary {
			figures[f.Name] = f.Value
		}
	}
	if figures["base"] != "checkpoint globalver_17_inneropt_2, global version 17" ||
		!strings.HasPrefix(figures["bundle"], "out/bundle/globalver_17_inneropt_") {
		t.Errorf("figures %q", figures)
	}
	checkRecorded(t, opt.Workdir)
	want := updateBytes(t, opt.Workdir)
	rewriteWeights(t, filepath.Join(dir, "base"), func(tensors []checkpoint.Tensor) []checkpoint.Tensor {
		for i, x := range tensors {
			if at := slices.IndexFunc(over, func(o checkpoint.Tensor) bool { return o.Name == x.Name }); at >= 0 {
				tensors[i] = over[at]
			}
		}
		return tensors
	})
	merged := options(dir)
	merged.Workdir = filepath.Join(dir, "merged")
	plan := strings.Replace(overlayPlan, ", checkpoints: checkpoints", "", 1)
	if _, err := pipeline.Run(context.Background(), profiled(t, dir, plan), merged); err != nil {
		t.Fatal(err)
	}
	if got := updateBytes(t, merged.Workdir); got != want {
		t.Error("the merged base model gives another update or score")
	}
}

// checkRecorded checks that a run's outputs name the checkpoint.
func checkRecorded(t *testing.T, workdir string) {
	t.Helper()
	for _, name := range []string{"out/update/update.json", "out/bundle/manifest.json"} {
		var got struct {
			Base *checkpoint.FolderName `json:"base_checkpoint"`
		}
		data, err := os.ReadFile(filepath.Join(workdir, name))
		if err != nil || json.Unmarshal(data, &got) != nil || got.Base == nil || got.Base.Version != 17 || got.Base.Step != 2 {
			t.Errorf("%s: %s, %v", name, data, err)
		}
	}
}

// updateBytes are a run's update and its score.
func updateBytes(t *testing.T, workdir string) string {
	t.Helper()
	out := ""
	for _, name := range []string{"out/update/update.safetensors", "out/score.json"} {
		data, err := os.ReadFile(filepath.Join(workdir, name))
		if err != nil {
			t.Fatal(err)
		}
		out += string(data)
	}
	return out
}

// TestNewCheckpoint checks what a newer checkpoint makes a run repeat, and that one which only
// arrives makes it repeat nothing.
func TestNewCheckpoint(t *testing.T) {
	dir := overlayCorpus(t)
	plan := strings.Replace(overlayPlan, "  - proof_of_loss: {documents_min: 8}\n  - bundle: {}\n", "", 1)
	checkpointOf(t, dir, "globalver_9")
	done := func() (done []string) {
		opt := options(dir)
		opt.OnEvent = func(e pipeline.Event) {
			if e.Kind == "done" && !slices.Contains(done, e.Stage) {
				done = append(done, e.Stage)
			}
		}
		if _, err := pipeline.Run(context.Background(), profiled(t, dir, plan), opt); err != nil {
			t.Fatal(err)
		}
		return done
	}
	if got := done(); !slices.Contains(got, "train") {
		t.Fatalf("the first run did %v", got)
	}
	write(t, filepath.Join(dir, "checkpoints", "globalver_10", ".tmp_model_expgroup_0.pt"), "")
	if got := done(); len(got) != 0 {
		t.Errorf("with a checkpoint that arrives the run did %v", got)
	}
	checkpointOf(t, dir, "globalver_11")
	if got := done(); !slices.Equal(got, []string{"train"}) {
		t.Errorf("with a newer checkpoint the run did %v", got)
	}
}

func TestBadCheckpoints(t *testing.T) {
	dir := overlayCorpus(t)
	fails := func(t *testing.T, dir, plan string, opt pipeline.Options, parts ...string) error {
		t.Helper()
		_, err := pipeline.Run(context.Background(), profiled(t, dir, plan), opt)
		for _, part := range parts {
			if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want a line with %q", err, part)
			}
		}
		return err
	}
	is[*pipeline.UsageError](t, fails(t, dir, overlayPlan, options(dir), "network.base.checkpoints", "fetch one"))
	write(t, filepath.Join(dir, "checkpoints", "globalver_2", "model_expgroup_0.pt"), "")
	plainError(t, fails(t, dir, overlayPlan, options(dir), "none of 1 checkpoints is complete", "globalver_2"))
	folder := filepath.Join(dir, "checkpoints", "globalver_3")
	checkpointOf(t, dir, "globalver_3")
	putTensors(t, filepath.Join(folder, "model_shared.pt"), []checkpoint.Tensor{{Name: "model.norm.bias", DType: checkpoint.F32,
		Shape: []int{1}, Data: make([]byte, 4)}})
	fails(t, dir, overlayPlan, options(dir), folder, `the model has no tensor "model.norm.bias"`)
	putTensors(t, filepath.Join(folder, "model_shared.pt"), []checkpoint.Tensor{{Name: "lm_head.weight", DType: checkpoint.F32,
		Shape: []int{1}, Data: make([]byte, 4)}})
	fails(t, dir, overlayPlan, options(dir), folder, `tensor "lm_head.weight" has shape [1]`)
	remove(t, filepath.Join(folder, "model_shared.pt"))
	half := checkpoint.Tensor{Name: "model.layers.1.mlp.experts.0.down_proj", DType: checkpoint.F32, Shape: []int{32, 32},
		Data: make([]byte, 4096)}
	putTensors(t, filepath.Join(folder, "model_expgroup_0.safetensors"), []checkpoint.Tensor{half})
	fails(t, dir, overlayPlan, options(dir), folder, "is missing beside")
	remove(t, filepath.Join(folder, "model_expgroup_0.safetensors"))
	checkpointOf(t, dir, "globalver_3")
	plan := strings.Replace(overlayPlan, "bundle: {}", "bundle: {global_version: 2}", 1)
	is[*pipeline.UsageError](t, fails(t, dir, plan, options(dir), "bundle.global_version is 2", "globalver_3"))
}
