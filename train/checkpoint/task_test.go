package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

// taskCase is a folder and what Python makes of it; see testdata/task/make.py.
type taskCase struct {
	Name       string  `json:"name"`
	Config     string  `json:"config.yaml"`
	Assignment string  `json:"expert_assignment.json"`
	Policy     *string `json:"shard_policy.json"`
	Canonical  string  `json:"canonical"`
	SHA256     string  `json:"sha256"`
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestTaskBundleAgainstPython(t *testing.T) {
	data, err := os.ReadFile("testdata/task/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []taskCase
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 40 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		dir := filepath.Join(t.TempDir(), c.Name)
		put(t, filepath.Join(dir, GroupConfigFile), c.Config)
		put(t, filepath.Join(dir, GroupAssignmentFile), c.Assignment)
		if c.Policy != nil {
			put(t, filepath.Join(dir, ShardPolicyFile), *c.Policy)
		}
		b, err := ReadTaskBundle(store.OS(), dir)
		if err != nil {
			t.Errorf("%s: %v\n%s", c.Name, err, c.Config)
		} else if string(b.Canonical) != c.Canonical || b.SHA256 != c.SHA256 {
			t.Errorf("%s: got\n%s\nPython has\n%s\nof\n%s", c.Name, b.Canonical, c.Canonical, c.Config)
		}
	}
}

func TestTaskBundleFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "exp_x")
	put(t, filepath.Join(dir, GroupConfigFile), "group_id: 1\n")
	put(t, filepath.Join(dir, GroupAssignmentFile), `{"2": [[0, 1]], "10": [[0, 3]]}`)
	b, err := ReadTaskBundle(store.OS(), dir)
	want := `{"config":{"group_id":1},"expert_assignment":{"10":[[0,3]],"2":[[0,1]]},"name":"exp_x","shard_policy":null}`
	if err != nil || string(b.Canonical) != want || b.Stamp != "" {
		t.Fatalf("%s, %v", b.Canonical, err)
	}
	put(t, filepath.Join(dir, BundleStampFile), b.SHA256+"\n")
	again, err := ReadTaskBundle(store.OS(), dir)
	if err != nil || again.Stamp != b.SHA256 || again.SHA256 != b.SHA256 {
		t.Fatalf("%+v, %v", again, err)
	}
	for name, faults := range map[string]map[string]string{
		GroupConfigFile: {
			"a: .nan\n": "line 1: PyYAML reads .nan", "a: 1\nb: 2024-01-02\n": "line 2: PyYAML reads 2024-01-02",
			"a: 1:30\n": "PyYAML reads 1:30", "1: a\n": "the key 1 is no text", "yes: a\n": "the key yes is no text",
			"a: 1\na: 2\n": "twice", "a: &x 1\nb: *x\n": "anchors", "a: 1.0e+999\n": "no finite number", "a: 0x_\n": "cannot read",
			"a: 1\nb: x\u2028y\n": "line 2: PyYAML takes U+2028 for the end of a line",
		},
		GroupAssignmentFile: {
			`{"1": NaN}`: "", `{"1": 1, "1": 2}`: "duplicate", `{"1": 1e999}`: "no finite number", `{} {}`: "more behind",
			`{"1": "\ud800"}`: "", `{"1": [`: "", strings.Repeat("[", 20000): "",
		},
	} {
		good, _ := os.ReadFile(filepath.Join(dir, name))
		for text, want := range faults {
			put(t, filepath.Join(dir, name), text)
			_, err := ReadTaskBundle(store.OS(), dir)
			mustSay(t, err, want)
			mustSay(t, err, filepath.Join(dir, name))
		}
		put(t, filepath.Join(dir, name), string(good))
	}
	put(t, filepath.Join(dir, GroupAssignmentFile), strings.Repeat(" ", pyJSONBytesMax+1))
	_, err = ReadTaskBundle(store.OS(), dir)
	mustSay(t, err, "has 16777217 bytes")
}

func TestGroupAdd(t *testing.T) {
	root := filepath.Join(t.TempDir(), "expert_groups")
	g := &Group{Name: "exp_a", Config: GroupConfig{GroupID: 4, ExpertGroupName: "exp_a", Data: GroupData{DatasetName: "a/b",
		SequenceLength: 1024, DatasetClass: DatasetClass("exp_a")}}, Assignment: Assignment{1: {{0, 7}, {1, 2}}}}
	if _, all, err := g.Add(store.OS(), root, true); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	module, err := os.ReadFile(filepath.Join(root, "exp_a", GroupDatasetFile))
	if err != nil || !strings.Contains(string(module), "apply_chat_template") {
		t.Errorf("%s, %v", module, err)
	}
	_, _, err = g.Add(store.OS(), root, false)
	mustSay(t, err, "group exp_a has the group_id 4 already")
	g.Config.GroupID = 5
	_, _, err = g.Add(store.OS(), root, false)
	mustSay(t, err, "is there already")
	g.Name = "exp-b"
	_, _, err = g.Add(store.OS(), root, false)
	mustSay(t, err, "Python module")
	g.Name = "exp_b"
	g.Config.Data.DatasetSources = []DatasetSource{{Path: "x", Weight: -1}}
	_, _, err = g.Add(store.OS(), root, false)
	mustSay(t, err, "dataset_sources[0]")
	g.Config.Data.DatasetSources = nil
	added, all, err := g.Add(store.OS(), root, false)
	if err != nil || len(all) != 2 || added.Config.GroupID != 5 || len(Overlaps(all)) != 1 {
		t.Fatalf("%+v %v %v", added, all, err)
	}
}

// TestGroupNumbers checks that PyYAML takes what Encode writes for the numbers they are.
func TestGroupNumbers(t *testing.T) {
	c := GroupConfig{Data: GroupData{SequenceLength: 1000000, ValiFraction: 1e-7, DatasetSources: []DatasetSource{
		{Path: "p", Weight: 1, EvalShardRows: 123456789012}, {Path: "q", Weight: 2.5e-9}}}}
	v, err := parsePyYAML(c.Encode())
	want := `{"data":{"dataset_sources":[{"eval_shard_rows":123456789012,"path":"p","weight":1.0},{"path":"q","weight":2.5e-09}],` +
		`"sequence_length":1000000,"vali_fraction":1e-07},"group_id":0}`
	if got := string(appendPyJSON(nil, v)); err != nil || got != want {
		t.Errorf("%s, %v\nfrom\n%s", got, err, c.Encode())
	}
}

// FuzzPyJSON checks that the canonical form is one, and that encoding/json reads it back.
func FuzzPyJSON(f *testing.F) {
	for _, seed := range []string{`{"b":[1,2.50,-0,1e5],"a":"é\u0001\"\ud83d\ude00"}`, `[1e400]`, `{"a":1,"a":2}`, `nul`, `1e-7`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parsePyJSON(data)
		if err != nil {
			return
		}
		out := appendPyJSON(nil, v)
		again, err := parsePyJSON(out)
		if err != nil || string(appendPyJSON(nil, again)) != string(out) || len(out) > 64+24*len(data) {
			t.Fatalf("%q became %q, %v", data, out, err)
		}
		if !json.Valid(out) {
			t.Fatalf("%q is no JSON", out)
		}
	})
}

// FuzzPyYAML checks that what PyYAML's rules make of a text is JSON, or one error.
func FuzzPyYAML(f *testing.F) {
	for _, seed := range []string{"a: 1e5\nb: [yes, ~, 0x1f, 1_0.5]\n", "a: &x [1]\nb: *x\n", "1: 2\n", "a: 0b_\n", "- .inf\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parsePyYAML(data)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		if out := appendPyJSON(nil, v); !json.Valid(out) {
			t.Fatalf("%q became %q", data, out)
		}
	})
}

// TestGroupReadersAllocate reads texts made to be costly: none may cost more than a small multiple
// of its size, or, as YAML, more than 16 MiB.
func TestGroupReadersAllocate(t *testing.T) {
	const size = 1 << 19
	fill := func(head, part, tail string) []byte {
		return []byte(head + strings.Repeat(part, size/len(part)) + tail)
	}
	for name, c := range map[string]struct {
		read func([]byte) error
		data []byte
	}{
		"assignment of pairs": {func(b []byte) error { _, err := ParseAssignment(b); return err }, fill(`{"1":[`, `[0,1],`, `[0,1]]}`)},
		"JSON of lists":       {func(b []byte) error { _, err := parsePyJSON(b); return err }, fill(`[`, `[],`, `[]]`)},
		"JSON of objects":     {func(b []byte) error { _, err := parsePyJSON(b); return err }, fill(`[`, `{},`, `{}]`)},
		"deep JSON":           {func(b []byte) error { _, err := parsePyJSON(b); return err }, fill(``, `[`, ``)},
		"one number":          {func(b []byte) error { _, err := parsePyJSON(b); return err }, fill(``, `9`, ``)},
		"YAML lines":          {func(b []byte) error { _, err := parseGroupConfig(b); return err }, fill("group_id: 1\n", "- a\n", "")[:60<<10]},
		"long YAML":           {func(b []byte) error { _, err := parseGroupConfig(b); return err }, fill("group_id: 1\n", "- a\n", "")},
		"one YAML line":       {func(b []byte) error { _, err := parseGroupConfig(b); return err }, fill("group_id: ", "9", "")},
		"YAML lists":          {func(b []byte) error { _, err := parseGroupConfig(b); return err }, fill("group_id: [", "[", "")},
		"YAML aliases": {func(b []byte) error { _, err := parseGroupConfig(b); return err },
			[]byte("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\ngroup_id: 1\n" +
				"data: {dataset_sources: [*c,*c,*c,*c]}\n")},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.read(c.data)
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes cost %.1f times as much; %v", name, len(c.data), float64(got)/float64(len(c.data)), err)
		if got > uint64(64*len(c.data)+(1<<20)) && got > 16<<20 {
			t.Errorf("%s: %d bytes cost %d", name, len(c.data), got)
		}
	}
}
