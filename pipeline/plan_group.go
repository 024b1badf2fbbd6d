package pipeline

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// GroupChoice says which expert group is trained: that of a number, or the one that routing ranks
// first.
type GroupChoice struct {
	Auto bool
	ID   int // if not Auto
}

// groupAuto is the word for the group that routing ranks first.
const groupAuto = "auto"

// UnmarshalText reads a number from 0, or auto.
func (g *GroupChoice) UnmarshalText(text []byte) error {
	if string(text) == groupAuto {
		*g = GroupChoice{Auto: true}
		return nil
	}
	id, ok := parseInteger(string(text))
	if !ok || id < 0 || int64(int(id)) != id {
		return errors.New("want the number of an expert group, from 0, or auto for the one that route ranks first")
	}
	*g = GroupChoice{ID: int(id)}
	return nil
}

// MarshalText writes the number, or auto.
func (g GroupChoice) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// String is the number, or auto.
func (g GroupChoice) String() string {
	if g.Auto {
		return groupAuto
	}
	return strconv.Itoa(g.ID)
}

// Number is the group's, or nil where a plan names none or leaves it to routing.
func (g *GroupChoice) Number() *int {
	if g == nil || g.Auto {
		return nil
	}
	return &g.ID
}

// schema is that of a plan's value.
func (GroupChoice) schema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "integer", Minimum: "0"}, {Enum: []any{groupAuto}}, {Ref: "#/$defs/variable"}, {Type: "null"},
	}}
}

// Check asks for the groups to choose from.
func (n *Network) Check(at *Fields) {
	if n.ExpertGroup != nil && n.ExpertGroup.Auto && n.ExpertGroups == "" {
		at.Errorf("expert_group", "auto chooses among the groups of a folder; set network.expert_groups")
	}
}

// groupNote says, where routing chooses the expert group, which stage does and which go by it, or is
// empty.
func (p *Plan) groupNote() (string, error) {
	if !p.AutoGroup() {
		return "", nil
	}
	var by string
	var after []string
	for _, s := range p.Stages {
		program, err := s.Program()
		switch {
		case err != nil:
			return "", err
		case slices.Contains(s.Kind.Makes, Routing):
			by = s.Label()
		case program.Uses != nil && slices.Contains(program.Uses(p), Routing):
			after = append(after, s.Label())
		}
	}
	if by == "" {
		return "auto, but no stage of the plan chooses it", nil
	}
	note := "auto: " + by + " decides once it has run, for the group that it ranks first"
	if len(after) > 0 {
		note += "; " + strings.Join(after, ", ") + " will go by it"
	}
	return note, nil
}

// AutoGroup reports whether routing chooses the expert group.
func (p *Plan) AutoGroup() bool { return p.Network.ExpertGroup != nil && p.Network.ExpertGroup.Auto }
