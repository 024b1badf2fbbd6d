package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// groupCorpus is modelCorpus with two expert groups: 0 of the experts 0 and 1, 1 of 2 and 3. The
// model's only layer of experts is 1.
func groupCorpus(t *testing.T, docs int) string {
	t.Helper()
	dir := modelCorpus(t, docs)
	for id, experts := range [][]checkpoint.Pair{{{My: 0, Org: 0}, {My: 1, Org: 1}}, {{My: 2, Org: 2}, {My: 3, Org: 3}}} {
		g := &checkpoint.Group{Name: fmt.Sprintf("exp_%c", 'a'+id), Config: checkpoint.GroupConfig{GroupID: id},
			Assignment: checkpoint.Assignment{1: experts}}
		if err := g.Write(store.OS(), filepath.Join(dir, "groups")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const groupPlan = `
name: model
seed: 3
network: {expert_group: auto, expert_groups: groups, base: {model: base}}
input:
  - path: data/*.jsonl
held_out: {fraction: 0.3}
stages:
  - exact_dedup: {}
  - route: {sample_tokens: 4000, sequence_length: 64, p: 0.5}
  - keep_for_group: {keep_fraction: 0.8}
  - tokenize: {sequence_length: 64}
  - train: {max_steps: 12, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, warmup_steps: 1, dtype: F32}
  - proof_of_loss: {documents_min: 8}
  - bundle: {}
`

func decodeFile(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// figures are the lines of a run's summary by name.
func figures(res *pipeline.Result) map[string]string {
	out := map[string]string{}
	for _, s := range res.Stages {
		for _, f := range s.Summary {
			out[f.Name] = f.Value
		}
	}
	return out
}

// TestAutoGroup lets routing choose the group: the stages behind it take that one, what was
// decided is in the bundle, and other miners turn the choice, and with it the keys of the stages.
func TestAutoGroup(t *testing.T) {
	trainsModels(t)
	dir := groupCorpus(t, 200)
	opt := options(dir)
	trained := map[int]string{}
	for _, favoured := range []int{0, 1} {
		write(t, filepath.Join(dir, "miners.json"), fmt.Sprintf(`{"%d": 0, "%d": 50}`, favoured, 1-favoured))
		plan := strings.Replace(groupPlan, "p: 0.5", "p: 0.5, miners: miners.json", 1)
		res, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
		if err != nil {
			t.Fatal(err)
		}
		var d stages.GroupDecision
		decodeFile(t, filepath.Join(opt.Workdir, "out/routing/group.json"), &d)
		if d.Chosen.ID != favoured || d.RunnerUp == nil || d.RunnerUp.ID != 1-favoured || d.RunnerUp.Miners != 50 || d.Close {
			t.Errorf("%+v", d)
		}
		var meta stages.UpdateMeta
		decodeFile(t, filepath.Join(opt.Workdir, "out/update/update.json"), &meta)
		if meta.Group == nil || *meta.Group != favoured || meta.GroupWhy != d.Why || meta.Assignment[1][0].Org != 2*favoured {
			t.Errorf("%+v", meta)
		}
		var manifest struct {
			ID struct {
				Group int `json:"expert_group"`
			} `json:"id"`
			Why string `json:"expert_group_chosen"`
		}
		decodeFile(t, filepath.Join(opt.Workdir, "out/bundle/manifest.json"), &manifest)
		if manifest.ID.Group != favoured || manifest.Why != d.Why {
			t.Errorf("%+v", manifest)
		}
		notes := ""
		for _, s := range res.Stages {
			if s.Label == "keep_for_group" {
				notes += strings.Join(s.Notes, "\n")
			}
		}
		if !strings.Contains(notes, fmt.Sprintf("the experts are group %d, by route: group %d", favoured, favoured)) {
			t.Errorf("keep_for_group says %q", notes)
		}
		got := figures(res)
		trained[favoured] = got["experts trained"]
		if !strings.HasPrefix(got["experts trained"], fmt.Sprintf("group %d, by route: group %d exp_", favoured, favoured)) ||
			got["expert group"] == "" || got["load balance"] == "" {
			t.Errorf("%v", got)
		}
	}
	if trained[0] == trained[1] {
		t.Error("other miners changed nothing")
	}
}

// TestCloseGroups checks that a choice which the sample does not settle is a warning.
func TestCloseGroups(t *testing.T) {
	dir := groupCorpus(t, 60)
	plan, _, _ := strings.Cut(groupPlan, "  - keep_for_group")
	res, err := pipeline.Run(context.Background(), parse(t, dir, strings.Replace(plan, "4000", "64", 1)), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	notes := ""
	for _, s := range res.Stages {
		notes += strings.Join(s.Notes, "\n")
	}
	if !strings.Contains(notes, "overlap: this sample does not tell which is first") {
		t.Errorf("no warning:\n%s", notes)
	}
}

func TestGroupMistakes(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"  - route: {sample_tokens: 4000, sequence_length: 64, p: 0.5}\n", "", ":10:5: stages[1].keep_for_group: network.expert_group " +
			"is auto, but no route stage before this one"},
		{"  - route: {sample_tokens: 4000, sequence_length: 64, p: 0.5}\n  - keep_for_group: {keep_fraction: 0.8}\n", "",
			":11:5: stages[2].train: network.expert_group is auto"},
		{"expert_groups: groups, ", "", "network.expert_group: auto chooses among the groups of a folder; set network.expert_groups"},
		{"expert_group: auto", "expert_group: any", "want the number of an expert group, from 0, or auto"},
		{"expert_group: auto", "expert_group: -1", "want the number of an expert group"},
		{"max_steps: 12", "max_steps: 12, trainable: all", "trainable: all trains no expert group"},
		{"keep_fraction: 0.8", "keep_fraction: 0.8, lift_min: 1", "keep_for_group.keep_fraction: lift_min sets the threshold already"},
		{"expert_group: auto, expert_groups: groups", "expert_group: 0", "network.expert_group needs the folder of groups"},
		{"p: 0.5", "p: 0.5, write_group: {name: exp-x}", "write_group.group_id: required"},
		{"p: 0.5", "p: 0.5, write_group: {name: exp-x, group_id: 3}", "cannot name an expert group"},
		{"p: 0.5", "p: 0.5, write_group: {name: x, group_id: 3, dataset_name: a/b, dataset_sources: [{path: c/d}]}", "keep one of them"},
		{"p: 0.5", "p: 0.5, write_group: {name: x, group_id: 3, dataset_sources: [{path: c/d, weight: 0}]}", "a weight above 0"},
		{"expert_group: auto, expert_groups: groups, ", "", ""},
	} {
		plan := strings.Replace(groupPlan, c.old, c.new, 1)
		_, err := pipeline.ParsePlan("plan.yaml", []byte(plan), stages.All(), pipeline.ParseOptions{Complete: stages.Complete})
		if c.want == "" {
			if err != nil {
				t.Errorf("%v", err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v\nwant %q", c.new, err, c.want)
		}
	}
}

// slowShares routes each document alone through the whole model and counts by hand.
func slowShares(t *testing.T, dir string, own map[int32]bool, tokensMax int, texts []string) []float64 {
	t.Helper()
	m, err := model.Open(store.OS(), filepath.Join(dir, "base"), tensor.New(tensor.Plain(), 1))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenize.Load(store.OS(), filepath.Join(dir, "base", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	shares := make([]float64, len(texts))
	for i, text := range texts {
		ids := tok.Encode(nil, text)
		ids = ids[:min(len(ids), tokensMax)]
		ours, all := 0, 0
		err := m.Routes(context.Background(), model.Batch{Sequences: 1, Length: len(ids), Tokens: ids}, func(r model.Route) {
			for _, e := range r.Experts {
				if all++; own[e] {
					ours++
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		shares[i] = float64(ours) / float64(all)
	}
	return shares
}

// keepPlan keeps documents for group 1 and exports them.
func keepPlan(stage string) string {
	return "name: k\nnetwork: {expert_group: 1, expert_groups: groups, base: {model: base}}\ninput: [{path: data, columns: [n]}]\n" +
		"stages:\n  - keep_for_group: {" + stage + "}\n  - export: {format: jsonl, files_multiple: 1}\n"
}

// TestKeepForGroup compares what is kept with a slow twin, for each kind of threshold.
func TestKeepForGroup(t *testing.T) {
	dir := groupCorpus(t, 120)
	texts := append(problems(120), "")
	var b strings.Builder
	for i, text := range texts {
		fmt.Fprintf(&b, "{\"n\":%d,\"text\":%q}\n", i, text)
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), b.String())
	shares := slowShares(t, dir, map[int32]bool{2: true, 3: true}, 24, texts[:120])
	above := func(threshold float64) map[int]bool {
		kept := map[int]bool{}
		for i, s := range shares {
			if s >= threshold {
				kept[i] = true
			}
		}
		return kept
	}
	median := 0.0
	for _, s := range shares {
		if len(above(s)) >= 60 && s > median {
			median = s
		}
	}
	for stage, want := range map[string]map[int]bool{
		"document_tokens_max: 24":                                          above(0.5),
		fmt.Sprintf("document_tokens_max: 24, share_min: %v", median):      above(median),
		fmt.Sprintf("document_tokens_max: 24, lift_min: %v", 2*median):     above(median),
		"document_tokens_max: 24, keep_fraction: 0.5":                      above(median),
		"document_tokens_max: 24, keep_fraction: 1":                        above(0),
		"document_tokens_max: 24, score: gate, share_min: 0.0000000000001": above(math.SmallestNonzeroFloat64),
	} {
		opt := options(dir)
		opt.MemoryBytes = 128 << 10 // several waves
		opt.Workdir = filepath.Join(t.TempDir(), "run")
		if _, err := pipeline.Run(context.Background(), parse(t, dir, keepPlan(stage)), opt); err != nil {
			t.Fatal(stage, err)
		}
		got := map[int]bool{}
		for _, row := range exported(t, filepath.Join(opt.Workdir, "out", "data")) {
			got[row.N] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: kept %v\nwant %v", stage, got, want)
		}
		checkShareDrops(t, stage, dropLog(t, opt), shares, len(texts)-len(got))
	}
}

// checkShareDrops compares the drop log's values with the shares of the documents before the last,
// which has no token.
func checkShareDrops(t *testing.T, stage string, dropped []drop, shares []float64, want int) {
	t.Helper()
	scale := 2.0 // of a share of two experts of four: its lift
	if strings.Contains(stage, "share_min") || strings.Contains(stage, "keep_fraction") {
		scale = 1
	}
	for _, d := range dropped {
		switch {
		case d.Row == len(shares) && (d.Reason != "no_tokens" || d.Value != 0):
			t.Errorf("%s: the document without a token: %+v", stage, d)
		case d.Row < len(shares) && !strings.Contains(stage, "gate") &&
			(d.Reason != "off_group" || math.Abs(d.Value-scale*shares[d.Row]) > 1e-12):
			t.Errorf("%s: %+v, want the value %g", stage, d, scale*shares[d.Row])
		}
	}
	if len(dropped) != want {
		t.Errorf("%s: %d dropped, want %d", stage, len(dropped), want)
	}
}

type keptRow struct {
	N int `json:"n"`
}

func exported(t *testing.T, dir string) []keptRow {
	t.Helper()
	var out []keptRow
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		files, err = filepath.Glob(filepath.Join(dir, "*", "*.jsonl"))
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing exported below %s: %v", dir, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			var row keptRow
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			out = append(out, row)
		}
	}
	return out
}

// stopAtWave cancels a run once so many waves were noted in the scratch folder.
type stopAtWave struct {
	store.FS
	left *int
	stop context.CancelFunc
}

func (f stopAtWave) Rename(from, to string) error {
	err := f.FS.Rename(from, to)
	if strings.HasSuffix(to, "found.json") {
		if *f.left--; *f.left == 0 {
			f.stop()
		}
	}
	return err
}

// TestKeepForGroupGoesOn interrupts the stage behind its second wave: the next run measures only
// what is left, and the result is the same.
func TestKeepForGroupGoesOn(t *testing.T) {
	dir := groupCorpus(t, 200)
	plan := strings.Replace(keepPlan("document_tokens_max: 24, keep_fraction: 0.5"), ", columns: [n]", "", 1)
	waves := func(opt pipeline.Options, stopAfter int) (int, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		left := stopAfter
		opt.MemoryBytes, opt.FS = 256<<10, stopAtWave{opt.FS, &left, cancel}
		_, err := pipeline.Run(ctx, parse(t, dir, plan), opt)
		return stopAfter - left, err
	}
	whole, cut := options(dir), options(dir)
	whole.Workdir, cut.Workdir = filepath.Join(dir, "whole"), filepath.Join(dir, "cut")
	all, err := waves(whole, -1)
	if err != nil || all < 4 {
		t.Fatalf("%d waves, %v", all, err)
	}
	if n, err := waves(cut, 2); !errors.Is(err, context.Canceled) || n != 2 {
		t.Fatalf("%d waves, %v", n, err)
	}
	if n, err := waves(cut, -1); err != nil || n != all-2 {
		t.Fatalf("%d waves more of %d, %v", n, all, err)
	}
	if a, b := outTree(t, parse(t, dir, plan), whole), outTree(t, parse(t, dir, plan), cut); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("other output: %v and %v", a, b)
	}
}

// TestWriteGroup writes the chosen experts as a group, with what a miner should know.
func TestWriteGroup(t *testing.T) {
	dir := groupCorpus(t, 100)
	plan, _, _ := strings.Cut(groupPlan, "  - keep_for_group")
	plan = strings.Replace(plan, "p: 0.5", "top_n: 2, write_group: {name: exp_new, group_id: 7, first_id: 4}", 1)
	opt := options(dir)
	res, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(opt.Workdir, "out/routing/exp_new")
	g, err := checkpoint.LoadGroup(store.OS(), folder)
	if err != nil || g.Config.GroupID != 7 || g.Config.ExpertGroupName != "exp_new" || g.Assignment[1][0].My != 4 ||
		g.Config.Data.SequenceLength != 64 || len(g.Config.Data.DatasetSources) != 1 {
		t.Fatalf("%+v, %v", g, err)
	}
	bundle, err := checkpoint.ReadTaskBundle(store.OS(), folder)
	if err != nil || !strings.HasSuffix(figures(res)["group written"], "bundle_sha256 "+bundle.SHA256) {
		t.Errorf("%v, %v", figures(res), err)
	}
	notes := ""
	for _, s := range res.Stages {
		notes += strings.Join(s.Notes, "\n")
	}
	for _, want := range []string{"groups exp_new and exp_", "which only this machine can read"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
	_, err = pipeline.Run(context.Background(), parse(t, dir, strings.Replace(plan, "group_id: 7", "group_id: 1", 1)), opt)
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.Contains(usage.Msg, "has the number 1 already") {
		t.Errorf("%v", err)
	}
}

// TestGroupIsChecked asks for a group that is not there before anything is written.
func TestGroupIsChecked(t *testing.T) {
	dir := overlayCorpus(t)
	plan := profiled(t, dir, overlayPlan)
	plan.Network.ExpertGroup = &pipeline.GroupChoice{ID: 7}
	_, err := pipeline.Outlook(plan, options(dir))
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "there is no group 7 in ") {
		t.Errorf("%v", err)
	}
}
