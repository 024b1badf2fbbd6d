package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"bzdata/pipeline/store"
)

// shippedGroups is where Block Zero's own groups are, if they are there.
const shippedGroups = "../../../shared/data/blockzero/expert_groups"

func TestShippedGroups(t *testing.T) {
	if _, err := os.Stat(shippedGroups); err != nil {
		t.Skip("Block Zero's expert groups are not there: ", err)
	}
	groups, err := LoadGroups(store.OS(), shippedGroups)
	if err != nil {
		t.Fatal(err)
	}
	if len(groups) != 2 || groups[0].Name != "exp_math" || groups[1].Name != "exp_dummy" {
		t.Fatalf("groups %v", groups)
	}
	layers := make([]int, 48)
	for i := range layers {
		layers[i] = i
	}
	for i, g := range groups {
		if err := g.Assignment.Validate(layers, 512); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
		if want := []int{48 * 6, 48 * 5}[i]; g.Assignment.Experts() != want {
			t.Errorf("%s: %d experts, want %d", g.Name, g.Assignment.Experts(), want)
		}
		data, _ := os.ReadFile(filepath.Join(shippedGroups, g.Name, GroupAssignmentFile))
		if got := g.Assignment.Encode(); !bytes.Equal(got, bytes.TrimSpace(data)) {
			t.Errorf("%s: the assignment written differs from the one read", g.Name)
		}
	}
	d := groups[0].Config.Data
	if d.DatasetName != "open-r1/OpenR1-Math-220k" || d.DataDir != "" || d.SequenceLength != 100 || d.WorldSize != 10 || d.Rank != 1 {
		t.Errorf("config %+v", d)
	}
	want := []Overlap{{A: "exp_math", B: "exp_dummy", Layers: 48, Experts: 240}}
	if got := Overlaps(groups); !reflect.DeepEqual(got, want) {
		t.Errorf("overlaps %v, want %v", got, want)
	}
}

func TestParseAssignment(t *testing.T) {
	a, err := ParseAssignment([]byte(`{"10":[[0,3]],"2":[[5,79],[6,41]]}`))
	want := Assignment{2: {{5, 79}, {6, 41}}, 10: {{0, 3}}}
	if err != nil || !reflect.DeepEqual(a, want) {
		t.Fatalf("got %v, %v", a, err)
	}
	if got := string(a.Encode()); got != `{"2": [[5, 79], [6, 41]], "10": [[0, 3]]}` {
		t.Errorf("encoded %s", got)
	}
	for text, want := range map[string]string{
		`{}`:                        "no layer has experts",
		`[]`:                        "",
		`{"a":[[0,1]]}`:             `layer "a" is no number`,
		`{"01":[[0,1]]}`:            `layer "01" is no number`,
		`{"-1":[[0,1]]}`:            `layer "-1" is no number`,
		`{"1":[[0,1],[0,2]]}`:       "layer 1: running id 0 occurs twice",
		`{"1":[[0,1],[1,1]]}`:       "layer 1: expert 1 occurs twice",
		`{"1":[[0,-1]]}`:            "negative",
		`{"1":[[0,1]],"1":[[0,2]]}`: "duplicate",
		`{"1":[[0,1,2]]}`:           "",
		`{"1":[[0]]}`:               "",
		`{"1":[[0,1.5]]}`:           "",
	} {
		_, err := ParseAssignment([]byte(text))
		mustSay(t, err, want)
	}
}

func TestValidate(t *testing.T) {
	a := Assignment{1: {{0, 3}}, 2: {{0, 63}}}
	if err := a.Validate([]int{1, 2}, 64); err != nil {
		t.Error(err)
	}
	mustSay(t, a.Validate([]int{1, 2}, 63), "layer 2: expert 63, but the model has 63")
	mustSay(t, a.Validate([]int{1, 2, 3}, 64), "layer 3 has routed experts in the model")
	mustSay(t, a.Validate([]int{1}, 64), "layer 2: the model has no routed experts")
}

func TestGroupWriteRead(t *testing.T) {
	root := t.TempDir()
	for _, config := range []GroupConfig{
		{GroupID: 0},
		{GroupID: 3, ExpertGroupName: "say \"x\"", Data: GroupData{
			DatasetName: "a/b: c # d", DataDir: "en", BatchSize: 4, PerDeviceTrainBatchSize: 1,
			SequenceLength: 4096, WorldSize: 10, Rank: 0, DatasetClass: "x:Y", ValiFraction: 0.1}},
		{GroupID: 1, Data: GroupData{SequenceLength: 1024, DatasetSources: []DatasetSource{
			{Path: "allenai/c4", Name: "en", Weight: 0.5, TextColumn: "text"},
			{Path: "n", Weight: 1e-7, TextTemplate: "{{a}}\n{{b}}\t", Split: "train", Revision: "0e1",
				EvalShardRows: 10000, EvalMaxOffsetRows: 5}}}},
	} {
		g := &Group{Name: "exp_x", Config: config, Assignment: Assignment{1: {{0, 7}, {1, 2}}}}
		if err := g.Write(store.OS(), root); err != nil {
			t.Fatal(err)
		}
		got, err := LoadGroup(store.OS(), filepath.Join(root, "exp_x"))
		if err != nil || !reflect.DeepEqual(got, g) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, g)
		}
	}
	other := &Group{Name: "exp_y", Config: GroupConfig{GroupID: 1}, Assignment: Assignment{1: {{0, 7}}}}
	if err := other.Write(store.OS(), root); err != nil {
		t.Fatal(err)
	}
	_, err := LoadGroups(store.OS(), root)
	mustSay(t, err, "groups exp_x and exp_y both have group_id 1")
	_, err = parseGroupConfig([]byte("data: {}\n"))
	mustSay(t, err, "group_id")
	_, err = parseGroupConfig([]byte("group_id: 1\ndata: {dataset_sources: [{name: en}]}\n"))
	mustSay(t, err, "dataset_sources[0]")
}

func TestOverlaps(t *testing.T) {
	groups := []*Group{
		{Name: "a", Assignment: Assignment{1: {{0, 5}, {1, 6}}, 2: {{0, 5}}}},
		{Name: "b", Assignment: Assignment{1: {{2, 6}, {3, 7}}, 2: {{0, 9}}}},
		{Name: "c", Assignment: Assignment{3: {{0, 5}}}},
	}
	want := []Overlap{{A: "a", B: "b", Layers: 1, Experts: 1, RunIDs: 1}}
	if got := Overlaps(groups); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzAssignment checks that what is read can be written and read again.
func FuzzAssignment(f *testing.F) {
	f.Add([]byte(`{"0": [[5, 79], [6, 413]], "1": [[5, 362]]}`))
	f.Add([]byte(`{"1":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAssignment(data)
		if err != nil {
			return
		}
		again, err := ParseAssignment(a.Encode())
		if err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("%v became %v, %v", a, again, err)
		}
	})
}

// FuzzGroupConfig checks that what is read can be written and read again.
func FuzzGroupConfig(f *testing.F) {
	f.Add([]byte("group_id: 1\ndata:\n  dataset_name: a\n  world_size: 10\n  rank: 2\n"))
	f.Add([]byte("group_id: 0\ndata:\n  dataset_sources:\n    - {path: p, weight: 0.5}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseGroupConfig(data)
		if err != nil || c.Data.WorldSize <= 0 {
			return
		}
		again, err := parseGroupConfig(c.Encode())
		if err != nil {
			t.Fatalf("%s\n%v", c.Encode(), err)
		}
		if !bytes.Equal(c.Encode(), again.Encode()) {
			t.Fatalf("%s\nbecame\n%s", c.Encode(), again.Encode())
		}
	})
}
