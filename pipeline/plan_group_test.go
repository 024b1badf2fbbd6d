package pipeline

import (
	"strings"
	"testing"
)

func TestGroupChoice(t *testing.T) {
	for text, want := range map[string]GroupChoice{"0": {}, "12": {ID: 12}, "auto": {Auto: true}, "0x10": {ID: 16}} {
		var g GroupChoice
		if err := g.UnmarshalText([]byte(text)); err != nil || g != want {
			t.Errorf("%s: %+v, %v", text, g, err)
			continue
		}
		var again GroupChoice
		if err := again.UnmarshalText([]byte(g.String())); err != nil || again != want {
			t.Errorf("%s became %s: %+v, %v", text, g, again, err)
		}
	}
	for _, text := range []string{"", "-1", "AUTO", "1.5", "99999999999999999999", "any"} {
		var g GroupChoice
		if err := g.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "or auto") {
			t.Errorf("%q: %+v, %v", text, g, err)
		}
	}
	// A number stays one, in keys and in what check shows.
	if got := string(Canonical(Network{ExpertGroup: &GroupChoice{ID: 3}})); !strings.Contains(got, `"expert_group":3,`) {
		t.Error(got)
	}
	if got := string(Canonical(Network{ExpertGroup: &GroupChoice{Auto: true}})); !strings.Contains(got, `"expert_group":"auto",`) {
		t.Error(got)
	}
}
