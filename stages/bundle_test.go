package stages_test

import (
	"context"
	"errors"
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

// bundlePlan trains an expert group for a profile; %PROFILE and %BUNDLE are to be replaced.
const bundlePlan = `
name: bundle
seed: 3
network: {profile: PROFILE, expert_group: 0, expert_groups: expert_groups, base: {model: base}}
input:
  - path: data/*.jsonl
held_out: {fraction: 0.3}
stages:
  - exact_dedup: {}
  - tokenize: {sequence_length: 64, packing: truncate-pad}
  - train: {max_steps: 6, batch_size: 4, gradient_accumulation_steps: 1, learning_rate: 0.01, schedule: constant, TRAIN}
  - proof_of_loss: {documents_min: 8}
  - bundle: {BUNDLE}
`

func bundlePlanOf(profile, train, bundle string) string {
	return strings.NewReplacer("PROFILE", profile, "TRAIN", train, "BUNDLE", bundle).Replace(bundlePlan)
}

// parseProfiled is profiled for a profile of any kind; it returns the plan's mistakes.
func parseProfiled(dir, plan string) (*pipeline.Plan, error) {
	return pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(plan), stages.All(), pipeline.ParseOptions{
		Complete: stages.Complete,
		Profile: func(name string) (map[string]any, string, error) {
			p, err := network.Find(store.OS(), dir, name)
			if err != nil {
				return nil, "", err
			}
			return p.Defaults(), p.Name, nil
		},
	})
}

// bundled runs a plan; a refusal is returned.
func bundled(t *testing.T, dir, plan string, opt pipeline.Options) (*pipeline.Result, error) {
	t.Helper()
	p, err := parseProfiled(dir, plan)
	if err != nil {
		t.Fatal(err)
	}
	res, err := pipeline.Run(context.Background(), p, opt)
	if tolerated(err) != nil {
		t.Fatal(err)
	}
	return res, err
}

func manifestOf(t *testing.T, bundle string) *network.BundleManifest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(bundle, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := network.ParseBundleManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// faults are the failed checks of a bundle.
func faults(t *testing.T, bundle string) (out []string) {
	t.Helper()
	checks, err := stages.VerifyBundle(store.OS(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.Fault != "" {
			out = append(out, c.What+": "+c.Fault)
		}
	}
	return out
}

// below lists the files below a folder.
func below(t *testing.T, dir string) (out []string) {
	t.Helper()
	if err := filepath.WalkDir(dir+"/", func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			out = append(out, rel)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// TestBundleProfiles bundles an update for each network of groups.
func TestBundleProfiles(t *testing.T) {
	trainsModels(t)
	dir := overlayCorpus(t)
	for _, c := range []struct{ profile, train, bundle, files, kind string }{
		{"connito", "dtype: F16", "global_version: 7, repository: me/math, revision: 0c936fa",
			"commit_1.template commit_2.json globalver_7_inneropt_N/model_expgroup_0.pt " +
				"globalver_7_inneropt_N/model_expgroup_0.safetensors manifest.json", "blake2b-24"},
		{"connito", "dtype: BF16", "",
			"commit_1.template commit_2.template globalver_0_inneropt_N/model_expgroup_0.pt " +
				"globalver_0_inneropt_N/model_expgroup_0.safetensors manifest.json", "blake2b-24"},
		{"blockzero@907d2e4", "dtype: F32", "block: 5759026",
			"commit_1.template commit_2.json globalver_0_inneropt_N/model_expgroup_0.pt manifest.json", "blake2b-24"},
		{"blockzero-docs", "dtype: F16", "",
			"checkpoint_N/model_expgroup_0.safetensors manifest.json message.template", "sha256"},
	} {
		t.Run(c.profile+" "+c.train, func(t *testing.T) {
			opt := options(dir)
			opt.Workdir = filepath.Join(t.TempDir(), "run")
			if _, err := bundled(t, dir, bundlePlanOf(c.profile, c.train, c.bundle), opt); err != nil {
				t.Fatal(err)
			}
			bundle := filepath.Join(opt.Workdir, "out", "bundle")
			m := manifestOf(t, bundle)
			step := m.Directory[strings.LastIndex(m.Directory, "_")+1:]
			if got, want := strings.Join(below(t, bundle), " "), strings.ReplaceAll(c.files, "_N/", "_"+step+"/"); got != want {
				t.Errorf("files %s\nwant  %s", got, want)
			}
			if f := faults(t, bundle); len(f) > 0 || m.HashKind != c.kind {
				t.Errorf("%s, faults %q", m.HashKind, f)
			}
			sameValues(t, filepath.Join(opt.Workdir, "out", "update", "update.safetensors"), bundle, m)
			spoil(t, bundle, m)
		})
	}
}

// sameValues checks that every file of the bundle has the tensors that were judged.
func sameValues(t *testing.T, judged, bundle string, m *network.BundleManifest) {
	t.Helper()
	want := hashOf(t, judged)
	for _, f := range m.Files {
		if got := hashOf(t, filepath.Join(bundle, m.Directory, f.Name)); got != want {
			t.Errorf("%s has hash %s, the judged update %s", f.Name, got, want)
		}
	}
	if m.HashKind == "blake2b-24" && m.Hash != want {
		t.Errorf("the manifest says %s, the tensors have %s", m.Hash, want)
	}
}

func hashOf(t *testing.T, name string) string {
	t.Helper()
	f, err := checkpoint.OpenAny(store.OS(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensors, err := checkpoint.Tensors(f)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := checkpoint.Hash(tensors)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// spoil changes a copy of the bundle in every way that verify is to find.
func spoil(t *testing.T, bundle string, m *network.BundleManifest) {
	t.Helper()
	file := filepath.Join(m.Directory, m.Files[0].Name)
	for what, change := range map[string]func(dir string){
		"sha256":              func(dir string) { appendByte(t, filepath.Join(dir, file)) },
		"not in the manifest": func(dir string) { write(t, filepath.Join(dir, m.Directory, "notes.txt"), "") },
		"what the manifest":   func(dir string) { appendByte(t, filepath.Join(dir, m.Messages[0].File)) },
		"no such file":        func(dir string) { remove(t, filepath.Join(dir, m.Messages[0].File)) },
		"no routed expert":    func(dir string) { rename(t, dir, file, m, "model.norm.weight") },
		"the manifest says":   func(dir string) { write(t, filepath.Join(dir, m.Directory, m.Files[0].Name), "") },
	} {
		dir := filepath.Join(t.TempDir(), "bundle")
		if err := os.CopyFS(dir, os.DirFS(bundle)); err != nil {
			t.Fatal(err)
		}
		change(dir)
		if got := faults(t, dir); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, what) }) {
			t.Errorf("%s is not found: %q", what, got)
		}
	}
}

func appendByte(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, string(data)+" ")
}

// rename gives the first tensor of a file another name.
func rename(t *testing.T, dir, file string, m *network.BundleManifest, to string) {
	t.Helper()
	f, err := checkpoint.OpenAny(store.OS(), filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []checkpoint.Tensor
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		data, err := f.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, checkpoint.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data})
	}
	tensors[0].Name = to
	putTensors(t, filepath.Join(dir, file), tensors)
}

// TestBundleRefuses tries what scores nothing, and what a validator rejects.
func TestBundleRefuses(t *testing.T) {
	trainsModels(t)
	dir := overlayCorpus(t)
	opt := options(dir)
	run := func(train, bundle string) (*pipeline.Result, error) {
		return bundled(t, dir, bundlePlanOf("connito", train, bundle), opt)
	}
	bundle := filepath.Join(opt.Workdir, "out", "bundle")
	if _, err := run("dtype: F32", ""); err != nil {
		t.Fatal(err)
	}
	m := manifestOf(t, bundle)
	own := filepath.Join(bundle, m.Directory, m.Files[0].Name)
	data, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "others", "mine.pt"), string(data))
	refused := func(err error, written bool, says ...string) {
		t.Helper()
		wantRefused(t, err, says...)
		if store.Exists(store.OS(), filepath.Join(bundle, "manifest.json")) != written {
			t.Errorf("bundle: %v, want %v", !written, written)
		}
	}
	_, err = run("dtype: F32", "compare_with: others/*.pt")
	refused(err, false, "would be taken for a copy: mine.pt has the same hash, "+m.Hash)
	_, err = run("dtype: F32", "compare_with: others/*.pt, even_if_refused: true")
	refused(err, true, "mine.pt has the same hash")
	if m := manifestOf(t, bundle); len(m.Refused) != 1 || len(m.Compared) != 1 || m.Compared[0].Cosine < 0.9999 {
		t.Errorf("%+v", m)
	}
	if f := faults(t, bundle); len(f) > 0 {
		t.Errorf("faults %q", f)
	}
	// The same steps rounded to another type are another update that changes the same.
	_, err = run("dtype: F16", "compare_with: others/*.pt")
	refused(err, false, "mine.pt changes the base in the same direction: cosine ", "above cosine_max 0.99")
	if _, err = run("dtype: F16", "compare_with: others/*.pt, cosine_max: 1"); err != nil {
		t.Error(err)
	}
	res, err := run("dtype: F32, weight_decay: 0", "compare_with: none/*.pt")
	if got := figures(res)["compared"]; err != nil || !strings.Contains(got, "names no file that is there") {
		t.Errorf("%v: %s", err, got)
	}
	write(t, filepath.Join(dir, "others", "mine.pt"), "PK")
	p, err := parseProfiled(dir, bundlePlanOf("connito", "dtype: F32", "compare_with: others"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = pipeline.Run(context.Background(), p, opt)
	is[*pipeline.DataError](t, err)
	if !strings.Contains(err.Error(), "bundle.compare_with: ") || !strings.Contains(err.Error(), "mine.pt: ") {
		t.Error(err)
	}
}

// wantRefused wants the gate to refuse, and to say why.
func wantRefused(t *testing.T, err error, says ...string) {
	t.Helper()
	var gate *pipeline.GateError
	if !errors.As(err, &gate) {
		t.Fatalf("not refused: %v", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v, want %q", err, s)
		}
	}
}

func allNotes(res *pipeline.Result, stage string) string {
	for _, s := range res.Stages {
		if s.Label == stage {
			return strings.Join(s.Notes, "\n")
		}
	}
	return ""
}

// TestBundleEvenIfRefused lets the gate say no, and wants the bundle.
func TestBundleEvenIfRefused(t *testing.T) {
	dir := overlayCorpus(t)
	opt := options(dir)
	plan := strings.Replace(bundlePlanOf("connito", "dtype: F16", "even_if_refused: true"), "documents_min: 8", "documents_min: 8, min_delta: 100", 1)
	for range 2 { // also where all is done
		res, err := bundled(t, dir, plan, opt)
		var gate *pipeline.GateError
		if !errors.As(err, &gate) || !strings.HasPrefix(res.Refused, "the gate refuses the update: ") || !res.Complete {
			t.Fatalf("%v, %+v", err, res)
		}
		bundle := filepath.Join(opt.Workdir, "out", "bundle")
		if m := manifestOf(t, bundle); len(m.Refused) != 1 || m.Refused[0] != res.Refused || len(faults(t, bundle)) > 0 {
			t.Errorf("%+v", m)
		}
	}
	// A stage in between that does not go on keeps the bundle from being made.
	plan = strings.Replace(plan, "  - bundle", "  - train: {id: more, max_steps: 1, batch_size: 1, gradient_accumulation_steps: 1}\n  - bundle", 1)
	plan = strings.Replace(plan, "max_steps: 6", "id: first, max_steps: 6", 1)
	if p, err := parseProfiled(dir, plan); err == nil {
		opt.Workdir += "2"
		if _, err := pipeline.Run(context.Background(), p, opt); err == nil || store.Exists(store.OS(), opt.Workdir+"/out/bundle") {
			t.Errorf("%v", err)
		}
	}
}

// TestBundleOfCopy trains nothing: proof_of_loss and bundle both say so.
func TestBundleOfCopy(t *testing.T) {
	dir := overlayCorpus(t)
	opt := options(dir)
	plan := strings.Replace(bundlePlanOf("connito", "dtype: F16", "even_if_refused: true"), "learning_rate: 0.01", "learning_rate: 1e-30", 1)
	_, err := bundled(t, dir, plan, opt)
	wantRefused(t, err, "the candidate's weights are the base's own")
	m := manifestOf(t, filepath.Join(opt.Workdir, "out", "bundle"))
	if len(m.Refused) != 2 || !strings.HasPrefix(m.Refused[1], "the update would score nothing: zero_delta: ") {
		t.Errorf("%q", m.Refused)
	}
}

// TestBundleMistakes are found before anything runs.
func TestBundleMistakes(t *testing.T) {
	dir := overlayCorpus(t)
	for _, c := range []struct{ profile, train, bundle, says string }{
		{"connito", "dtype: F16", "repository: " + strings.Repeat("r", 20) + "/" + strings.Repeat("n", 12), "33 characters; the network takes 32"},
		{"connito", "dtype: F16", "repository: name", "is not OWNER/NAME"},
		{"connito", "dtype: F16", "revision: main", "hexadecimal"},
		{"connito", "dtype: F16", "hotkey: x", "no SS58 address"},
		{"connito", "dtype: F16", "cosine_max: 2", "cosine_max"},
		{"blockzero", "dtype: BF16", "", "Block Zero cannot hash BF16"},
	} {
		_, err := parseProfiled(dir, bundlePlanOf(c.profile, c.train, c.bundle))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v", c.profile, c.bundle, err)
		}
	}
	// What the profile alone says is found when the update is there.
	own := `{name: own@1, source: test, evaluate: {rule: connito}, update: {dtype: F16, naming: native, hash: blake2b-24}, ` +
		`bundle: {directory: d, dtypes: [F32], files: [{role: update, name: u.pt, format: torch}]}}`
	write(t, filepath.Join(dir, "own.yaml"), own)
	if _, err := bundled(t, dir, bundlePlanOf("own.yaml", "dtype: F16", "even_if_refused: true"), options(dir)); err == nil ||
		!strings.Contains(err.Error(), "hash_fails: ") || store.Exists(store.OS(), filepath.Join(options(dir).Workdir, "out/bundle")) {
		t.Errorf("%v", err)
	}
}

// TestBundleModel bundles a whole model as Subnet 9 takes it, by a profile of its own limits.
func TestBundleModel(t *testing.T) {
	dir := modelCorpus(t, 120)
	hotkey := "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
	config := filepath.Join(dir, "base", "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.Replace(string(data), "{", `{"architectures":["LlamaForCausalLM"],`, 1))
	builtIn, err := os.ReadFile("../eval/network/profiles/sn9@6.0.4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	small := strings.Replace(string(builtIn), "{min: 3200000000, max: 3400000000}", "{min: 1000, max: 1000000}", 1)
	write(t, filepath.Join(dir, "small.yaml"), small)
	plan := func(profile, bundle string) string {
		p := bundlePlanOf(profile, "dtype: BF16, warmup_steps: 0", bundle)
		return strings.Replace(p, ", expert_group: 0, expert_groups: expert_groups", "", 1)
	}
	opt := options(dir)
	if _, err := bundled(t, dir, plan("small.yaml", "repository: me/model, hotkey: "+hotkey), opt); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(opt.Workdir, "out", "bundle")
	if got := strings.Join(below(t, bundle), " "); got != "commit_1.template manifest.json model/config.json model/model.safetensors" {
		t.Errorf("files %s", got)
	}
	m := manifestOf(t, bundle)
	hash, err := network.FolderHash(store.OS(), filepath.Join(bundle, "model"))
	if err != nil || hash != m.Hash || len(faults(t, bundle)) > 0 {
		t.Errorf("%s and %s, %v, %q", hash, m.Hash, err, faults(t, bundle))
	}
	if want := "me:model:<commit>:" + network.SecureHash(hash, hotkey) + ":2"; m.Messages[0].Text != want {
		t.Errorf("%s, want %s", m.Messages[0].Text, want)
	}
	write(t, filepath.Join(bundle, "model", ".gitattributes"), "")
	if f := faults(t, bundle); len(f) != 2 {
		t.Errorf("a foreign file: %q", f)
	}
	remove(t, filepath.Join(bundle, "model", ".gitattributes"))
	for _, c := range []struct{ profile, from, to, says string }{
		{"few.yaml", "max: 1000000", "max: 2000", " parameters; the network takes 1000 to 2000"},
		{"bytes.yaml", "bytes_max: 16106127360", "bytes_max: 100", " bytes of tensors; the network takes 100"},
		{"other.yaml", "    - LlamaForCausalLM\n", "", `config.json has architectures ["LlamaForCausalLM"]; the network takes one of Mistral`},
	} {
		write(t, filepath.Join(dir, c.profile), strings.Replace(small, c.from, c.to, 1))
		_, err := bundled(t, dir, plan(c.profile, "even_if_refused: true"), opt)
		if err == nil || !strings.Contains(err.Error(), "a validator would reject the model: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.profile, err)
		}
	}
}
