package stages

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// Files of out/routing that later stages read.
const (
	routedConfig = "routing/expert_config.json"
	routedGroup  = "routing/group.json" // where the plan leaves the group to route
)

// GroupDecision is routing/group.json: which expert group route has chosen, and why.
type GroupDecision struct {
	Chosen   routing.RankedGroup  `json:"chosen"`
	RunnerUp *routing.RankedGroup `json:"runner_up,omitempty"`
	// Close says that the intervals of both overlap.
	Close bool   `json:"close"`
	Why   string `json:"why"`
}

// decideGroup takes the first of ranked groups.
func decideGroup(groups []routing.RankedGroup) GroupDecision {
	d := GroupDecision{Chosen: groups[0]}
	d.Why = fmt.Sprintf("%s is first of %d", describeGroup(d.Chosen), len(groups))
	if len(groups) == 1 {
		d.Why = describeGroup(d.Chosen) + " is the only one"
		return d
	}
	next := groups[1]
	d.RunnerUp = &next
	d.Close = perMiner(d.Chosen, d.Chosen.ShareLow) <= perMiner(next, next.ShareHigh)
	d.Why += "; next " + describeGroup(next)
	return d
}

// perMiner is a share as the ranking weighs it.
func perMiner(g routing.RankedGroup, share float64) float64 { return share / float64(g.Miners+1) }

// describeGroup is a ranked group in words.
func describeGroup(g routing.RankedGroup) string {
	text := fmt.Sprintf("group %d %s with %.4f of the activation (%.4f to %.4f), lift %.3f", g.ID, g.Name, g.Share,
		g.ShareLow, g.ShareHigh, g.Lift)
	if g.Miners > 0 {
		text += fmt.Sprintf(", %.4f for one more beside %d miner", g.Value, g.Miners)
		if g.Miners > 1 {
			text += "s"
		}
	}
	return text
}

// experts is what a stage that works on some of the model's experts has to know of them.
type experts struct {
	assignment checkpoint.Assignment
	group      *int   // the group's number, nil for experts that route has chosen
	why        string // the group was chosen, where the plan does not name it
}

// describe says whose experts they are, for reports.
func (e experts) describe() string {
	switch {
	case e.group == nil:
		return "those that route chose"
	case e.why == "":
		return fmt.Sprintf("group %d, by the plan", *e.group)
	}
	return fmt.Sprintf("group %d, by route: %s", *e.group, e.why)
}

// tell reports whose experts were trained, if any.
func (e experts) tell(t *pipeline.Task) {
	if e.assignment != nil {
		t.Figure("experts trained", "%s", e.describe())
	}
	if e.group != nil {
		t.Value("expert_group", float64(*e.group))
	}
}

// usesRouting reports whether a stage gets its experts from route under a plan.
func usesRouting(p *pipeline.Plan) bool { return p.Network.ExpertGroup == nil || p.AutoGroup() }

// readGroup is the plan's choice of a group, for the keys of stages that work on its experts.
func readGroup(p *pipeline.Plan) pipeline.Read {
	r := pipeline.Read{Name: "expert_group"}
	if p.Network.ExpertGroup != nil {
		r.Value = p.Network.ExpertGroup.String()
	}
	return r
}

// expertsOf finds the experts that a task works on: those of the plan's group, of the group that
// route has chosen, or else those that route has chosen one by one.
func expertsOf(t *pipeline.Task) (experts, error) {
	choice := t.Plan.Network.ExpertGroup
	switch {
	case choice == nil:
		return chosenExperts(t)
	case !choice.Auto:
		return groupExperts(t, choice.ID, "")
	}
	var d GroupDecision
	if err := readRouting(t, routedGroup, func(data []byte) error { return json.Unmarshal(data, &d) }); err != nil {
		return experts{}, err
	}
	return groupExperts(t, d.Chosen.ID, d.Why)
}

func readRouting(t *pipeline.Task, name string, parse func([]byte) error) error {
	dir := t.Input(pipeline.Routing)
	if dir == "" {
		return &pipeline.UsageError{Msg: fmt.Sprintf("%s: which experts? set network.expert_group to a number, or put a route "+
			"stage before it", t.Step.Label())}
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	data, err := store.ReadAll(t.FS, path)
	if err != nil {
		return err
	}
	if err := parse(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func chosenExperts(t *pipeline.Task) (experts, error) {
	var chosen *routing.Config
	err := readRouting(t, routedConfig, func(data []byte) (err error) {
		chosen, err = routing.ParseConfig(data)
		return err
	})
	if err != nil {
		return experts{}, err
	}
	return experts{assignment: chosen.Assignment(0)}, nil
}

func groupExperts(t *pipeline.Task, id int, why string) (experts, error) {
	g, err := groupOf(t.Inputs, t.Plan, id)
	if err != nil {
		return experts{}, err
	}
	return experts{g.Assignment, &id, why}, nil
}

// groupOf reads the plan's group of a number.
func groupOf(fsys store.FS, p *pipeline.Plan, id int) (*checkpoint.Group, error) {
	groups, err := groupsOf(fsys, p)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, g := range groups {
		if g.Config.GroupID == id {
			return g, nil
		}
		known = append(known, fmt.Sprint(g.Config.GroupID))
	}
	return nil, &pipeline.UsageError{Msg: fmt.Sprintf("network.expert_group: there is no group %d in %s; there are %s",
		id, p.Network.ExpertGroups, strings.Join(known, ", "))}
}

// checkGroup asks for the plan's group before anything runs.
func checkGroup(fsys store.FS, p *pipeline.Plan) error {
	choice := p.Network.ExpertGroup
	if choice == nil || choice.Auto {
		return nil
	}
	_, err := groupOf(fsys, p, choice.ID)
	return err
}

// groupsOf reads the plan's expert groups, if it names any.
func groupsOf(fsys store.FS, p *pipeline.Plan) ([]*checkpoint.Group, error) {
	if p.Network.ExpertGroups == "" {
		return nil, nil
	}
	return checkpoint.LoadGroups(fsys, p.Path(string(p.Network.ExpertGroups)))
}

// completeExperts refuses stages that need experts which nothing before them chooses.
func completeExperts(p *pipeline.Plan) {
	routed := false
	for i, s := range p.Stages {
		routed = routed || s.Kind.Name == "route"
		c, trains := s.Config.(Train)
		needs := trains && c.trains(trainExperts) || s.Kind.Name == "keep_for_group"
		switch {
		case trains && !c.trains(trainExperts) && p.AutoGroup():
			p.Mistake(i, "trainable: %s trains no expert group that network.expert_group: auto could choose; "+
				"give the group's number, or train experts", strings.Join(c.Trainable, ", "))
		case !needs || routed:
		case p.AutoGroup():
			p.Mistake(i, "network.expert_group is auto, but no route stage before this one chooses the group; "+
				"put route before it, or give the group's number")
		case p.Network.ExpertGroup == nil:
			p.Mistake(i, "which experts? put a route stage before it, or set network.expert_group")
		}
	}
}
