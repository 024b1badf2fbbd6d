package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"bzdata/pipeline/store"
)

// The files of an expert group's folder.
const (
	GroupConfigFile     = "config.yaml"
	GroupAssignmentFile = "expert_assignment.json"
)

// Pair holds the two ids of a routed expert: the running id that the network gives it
// within its own models, and the id it has in the native base model.
type Pair struct{ My, Org int }

// Assignment lists a group's experts by layer. On disk it is expert_assignment.json:
// {"LAYER": [[my, org], …], …}.
type Assignment map[int][]Pair

// Layers lists the layers, ascending.
func (a Assignment) Layers() []int { return slices.Sorted(maps.Keys(a)) }

// Experts counts the experts over all layers.
func (a Assignment) Experts() int {
	n := 0
	for _, pairs := range a {
		n += len(pairs)
	}
	return n
}

// ParseAssignment reads expert_assignment.json. Within a layer no running id and no
// base model's id may occur twice, and none may be negative.
func ParseAssignment(data []byte) (Assignment, error) {
	var raw map[string][][2]int
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	a := make(Assignment, len(raw))
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		layer, err := strconv.Atoi(key)
		if err != nil || strconv.Itoa(layer) != key || layer < 0 {
			return nil, fmt.Errorf("layer %q is no number", key)
		}
		a[layer] = make([]Pair, len(raw[key]))
		for i, ids := range raw[key] {
			a[layer][i] = Pair{My: ids[0], Org: ids[1]}
		}
	}
	return a, a.check()
}

func (a Assignment) check() error {
	if len(a) == 0 {
		return errors.New("no layer has experts")
	}
	for _, layer := range a.Layers() {
		my, org := map[int]bool{}, map[int]bool{}
		for _, p := range a[layer] {
			switch {
			case p.My < 0 || p.Org < 0:
				return fmt.Errorf("layer %d: expert [%d, %d] has a negative id", layer, p.My, p.Org)
			case my[p.My]:
				return fmt.Errorf("layer %d: running id %d occurs twice", layer, p.My)
			case org[p.Org]:
				return fmt.Errorf("layer %d: expert %d occurs twice", layer, p.Org)
			}
			my[p.My], org[p.Org] = true, true
		}
	}
	return nil
}

// Encode writes expert_assignment.json as the networks write it: layers ascending, one
// space after each comma and colon.
func (a Assignment) Encode() []byte {
	out := []byte{'{'}
	for i, layer := range a.Layers() {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, strconv.Quote(strconv.Itoa(layer))+": ["...)
		for j, p := range a[layer] {
			if j > 0 {
				out = append(out, ", "...)
			}
			out = fmt.Appendf(out, "[%d, %d]", p.My, p.Org)
		}
		out = append(out, ']')
	}
	return append(out, '}')
}

// Validate checks the assignment against a base model: its layers must be exactly the
// model's MoE layers, and every expert's id below the model's number of routed experts.
func (a Assignment) Validate(moeLayers []int, experts int) error {
	if err := a.check(); err != nil {
		return err
	}
	for _, layer := range moeLayers {
		if _, ok := a[layer]; !ok {
			return fmt.Errorf("layer %d has routed experts in the model, but none in the group", layer)
		}
	}
	for _, layer := range a.Layers() {
		if !slices.Contains(moeLayers, layer) {
			return fmt.Errorf("layer %d: the model has no routed experts there", layer)
		}
		for _, p := range a[layer] {
			if p.Org >= experts {
				return fmt.Errorf("layer %d: expert %d, but the model has %d", layer, p.Org, experts)
			}
		}
	}
	return nil
}

// Group is an expert group: a folder expert_groups/NAME of config.yaml and
// expert_assignment.json.
type Group struct {
	Name       string // of the folder
	Config     GroupConfig
	Assignment Assignment
}

// ReadGroupConfig reads a group's config.yaml alone.
func ReadGroupConfig(fsys store.FS, path string) (GroupConfig, error) {
	data, err := readSmall(fsys, path)
	if err != nil {
		return GroupConfig{}, err
	}
	config, err := parseGroupConfig(data)
	if err != nil {
		return config, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

// LoadGroup reads a group's folder. Keys of config.yaml that bzdata has no use for are
// passed over.
func LoadGroup(fsys store.FS, dir string) (*Group, error) {
	config, err := ReadGroupConfig(fsys, filepath.Join(dir, GroupConfigFile))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, GroupAssignmentFile)
	data, err := readSmall(fsys, path)
	if err != nil {
		return nil, err
	}
	assignment, err := ParseAssignment(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Group{Name: filepath.Base(dir), Config: config, Assignment: assignment}, nil
}

// LoadGroups reads every group of an expert_groups folder, sorted by id. Folders without
// config.yaml are no groups; two groups of one id are an error.
func LoadGroups(fsys store.FS, root string) ([]*Group, error) {
	entries, err := fsys.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var groups []*Group
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if store.IsTemp(e.Name()) || !store.Exists(fsys, filepath.Join(dir, GroupConfigFile)) {
			continue
		}
		g, err := LoadGroup(fsys, dir)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	slices.SortStableFunc(groups, func(a, b *Group) int {
		return cmp.Compare(a.Config.GroupID, b.Config.GroupID)
	})
	for i := 1; i < len(groups); i++ {
		if groups[i].Config.GroupID == groups[i-1].Config.GroupID {
			return nil, fmt.Errorf("%s: groups %s and %s both have group_id %d",
				root, groups[i-1].Name, groups[i].Name, groups[i].Config.GroupID)
		}
	}
	return groups, nil
}

// Overlap says that two groups share experts. The networks allow it, and the groups that
// they ship do so.
type Overlap struct {
	A, B    string // names of the groups
	Layers  int    // layers in which they share experts of the base model
	Experts int    // experts of the base model shared, over all layers
	RunIDs  int    // running ids shared, over all layers
}

// String is one line for a warning.
func (o Overlap) String() string {
	return fmt.Sprintf("groups %s and %s share %d experts in %d layers and %d running ids",
		o.A, o.B, o.Experts, o.Layers, o.RunIDs)
}

// Overlaps lists the pairs of groups that share experts or running ids.
func Overlaps(groups []*Group) []Overlap {
	var out []Overlap
	for i, a := range groups {
		out = append(out, OverlapsWith(a, groups[i+1:])...)
	}
	return out
}

// OverlapsWith lists which of other groups share experts or running ids with one.
func OverlapsWith(a *Group, others []*Group) []Overlap {
	var out []Overlap
	for _, b := range others {
		o := Overlap{A: a.Name, B: b.Name}
		for layer, pairs := range a.Assignment {
			experts, ids := shared(pairs, b.Assignment[layer])
			o.Experts += experts
			o.RunIDs += ids
			o.Layers += min(experts, 1)
		}
		if o.Experts > 0 || o.RunIDs > 0 {
			out = append(out, o)
		}
	}
	return out
}

func shared(a, b []Pair) (experts, ids int) {
	for _, p := range a {
		if slices.ContainsFunc(b, func(q Pair) bool { return q.Org == p.Org }) {
			experts++
		}
		if slices.ContainsFunc(b, func(q Pair) bool { return q.My == p.My }) {
			ids++
		}
	}
	return experts, ids
}
