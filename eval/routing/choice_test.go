package routing

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// shippedGroups is where Block Zero's own groups are, if they are there.
const shippedGroups = "../../../shared/data/blockzero/expert_groups"

// TestShippedGroupsConvert turns Block Zero's groups into ESFT configurations and back: every
// layer's experts and order are kept, and, given the first running id, every byte of the file.
func TestShippedGroupsConvert(t *testing.T) {
	if _, err := os.Stat(shippedGroups); err != nil {
		t.Skip("SKIPPED, NOT CHECKED: Block Zero's expert groups are not there: ", err)
	}
	groups, err := checkpoint.LoadGroups(store.OS(), shippedGroups)
	if err != nil || len(groups) != 2 {
		t.Fatal(groups, err)
	}
	if o := checkpoint.Overlaps(groups); len(o) != 1 ||
		o[0].String() != "groups exp_math and exp_dummy share 240 experts in 48 layers and 0 running ids" {
		t.Errorf("overlaps %v", o)
	}
	for _, g := range groups {
		first := map[string]int{"exp_math": 5, "exp_dummy": 0}[g.Name]
		config, err := ParseConfig(ConfigOf(g.Assignment).Encode())
		if err != nil {
			t.Fatal(err)
		}
		for layer, pairs := range g.Assignment {
			for i, p := range pairs {
				if config.Experts[layer][i] != p.Org {
					t.Errorf("%s: layer %d has the experts %v", g.Name, layer, config.Experts[layer])
				}
			}
		}
		file, err := os.ReadFile(filepath.Join(shippedGroups, g.Name, checkpoint.GroupAssignmentFile))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := FirstID(g.Assignment); !ok || got != first {
			t.Errorf("%s: first running id %d, %t", g.Name, got, ok)
		}
		back := config.Assignment(first)
		if !reflect.DeepEqual(back, g.Assignment) || !bytes.Equal(back.Encode(), bytes.TrimSpace(file)) {
			t.Errorf("%s: the assignment that comes back is another:\n%s", g.Name, back.Encode())
		}
		for _, data := range [][]byte{file, config.Encode()} {
			if c, _, err := ParseChoice(data); err != nil || !reflect.DeepEqual(c, config) {
				t.Errorf("%s: %v", g.Name, err)
			}
		}
	}
}

func TestParseChoice(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "neither an expert configuration", `[1]`: "", `{"experts": {}}`: "no layer has experts",
		`{"experts": {"1": [2, 2]}}`: "occurs twice", `{"experts": {"1": [-1]}}`: "negative", `{"experts": {"1": [1e3]}}`: "",
		`{"experts": {"1": [99999999999999999999]}}`: "", `{"experts": {"1": [NaN]}}`: "", `{"experts": {"-1": [0]}}`: `"-1"`,
		`{"1": [[0, 1]], "1": [[0, 2]]}`: "duplicate", `{"experts": {"1": [1], "1": [2]}}`: "duplicate",
		`{"experts": {"1": [1]}, "experts": {}}`: "duplicate", `{"1": [[0, 99999999999999999999]]}`: "",
	} {
		_, _, err := ParseChoice([]byte(text))
		mustSay(t, err, want)
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %v", text, err)
		}
	}
}

func TestFirstID(t *testing.T) {
	for _, c := range []struct {
		a     checkpoint.Assignment
		first int
		ok    bool
	}{
		{checkpoint.Assignment{1: {{My: 3, Org: 9}, {My: 4, Org: 2}}, 2: {{My: 3, Org: 0}}}, 3, true},
		{checkpoint.Assignment{1: {{My: 9, Org: 9}, {My: 2, Org: 2}}}, -1, true},
		{checkpoint.Assignment{1: {{My: 3, Org: 9}, {My: 5, Org: 2}}}, 0, false},
		{checkpoint.Assignment{1: {{My: 3, Org: 9}}, 2: {{My: 4, Org: 2}}}, 0, false},
		{checkpoint.Assignment{1: {}, 2: {{My: 4, Org: 2}}}, 4, true},
		{checkpoint.Assignment{1: {}}, 0, true},
	} {
		if first, ok := FirstID(c.a); first != c.first || ok != c.ok {
			t.Errorf("%v: %d %t, want %d %t", c.a, first, ok, c.first, c.ok)
		}
	}
}

// allocated is how many bytes a call allocates in all.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestReadersAllocate reads texts made to be costly: none may cost more than a small multiple of
// its size.
func TestReadersAllocate(t *testing.T) {
	const size = 1 << 20
	fill := func(head, part, tail string) []byte {
		return []byte(head + strings.Repeat(part, size/len(part)) + tail)
	}
	layers := func(head, value, tail string) []byte {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, `"%d":%s,`, i, value)
		}
		return []byte(head + strings.TrimSuffix(b.String(), ",") + tail)
	}
	choice := func(data []byte) { ParseChoice(data) }
	records := func(data []byte) {
		if a, err := NewAccumulator(4, 2); err == nil {
			a.ReadRecords(1, bytes.NewReader(data))
		}
	}
	for name, c := range map[string]struct {
		read func([]byte)
		data []byte
	}{
		"pairs":        {choice, fill(`{"1":[`, `[0,1],`, `[0,1]]}`)},
		"deep":         {choice, fill(`{"1":`, `[`, ``)},
		"one number":   {choice, fill(`{"1":[[0,`, `9`, `]]}`)},
		"one key":      {choice, fill(`{"`, `9`, `":[]}`)},
		"layers":       {choice, layers("{", "[[0,1]]", "}")},
		"empty layers": {choice, layers(`{"experts":{`, "[]", "}}")},
		"layer lists":  {choice, layers(`{"experts":{`, "[7]", "}}")},
		"experts":      {choice, fill(`{"experts":{"1":[`, `7,`, `7]}}`)},
		"scores":       {func(data []byte) { ParseScores(data) }, layers(`{"token_scores":{`, `{"0":1}`, `},"gate_scores":{}}`)},
		"records":      {records, fill("", "0\t1\t", "\t0.5\t0.25")},
		"no tab":       {records, fill("", "7", "")},
		"tabs":         {records, fill("", "\t", "")},
		"huge layer":   {choice, []byte(`{"999999999999":[[0,999999999999]]}`)},
	} {
		if got := allocated(func() { c.read(c.data) }); got > uint64(64*len(c.data)+(4<<20)) {
			t.Errorf("%s: %d bytes cost %d", name, len(c.data), got)
		} else {
			t.Logf("%s: %d bytes cost %.1f times as much", name, len(c.data), float64(got)/float64(len(c.data)))
		}
	}
}

// FuzzChoice checks that what is read is a choice of experts that an assignment can hold.
func FuzzChoice(f *testing.F) {
	f.Add([]byte(`{"experts": {"1": [8, 26]}}`))
	f.Add([]byte(`{"0": [[5, 79], [6, 413]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, a, err := ParseChoice(data)
		if err != nil {
			return
		}
		if first, ok := FirstID(a); a != nil && ok && !reflect.DeepEqual(c.Assignment(first), a) {
			t.Fatalf("%v does not come back with %d", a, first)
		}
		again, err := checkpoint.ParseAssignment(c.Assignment(3).Encode())
		if err != nil || !reflect.DeepEqual(ConfigOf(again).Experts, c.Experts) {
			t.Fatalf("%v became %v, %v", c.Experts, again, err)
		}
	})
}
