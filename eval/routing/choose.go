package routing

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"bzdata/train/checkpoint"
)

// Rule says how many experts of a layer are chosen, best first. Exactly one of P, TopN and
// MinShare is set.
type Rule struct {
	// P takes experts until the scores taken sum to P; the one that reaches it is taken.
	// ESFT: 0.2 with token scores gives the published configurations; the paper has 0.1
	// with gate scores.
	P float64
	// TopN takes so many. Connito 0c936fa: 8.
	TopN int
	// MinShare takes the experts that have at least this share of their layer's sum, and
	// never fewer than Floor. Connito after 0c936fa: 0.02.
	MinShare float64
	Floor    int
}

func (r Rule) check() error {
	set := 0
	for _, on := range []bool{r.P != 0, r.TopN != 0, r.MinShare != 0} {
		if on {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("expert choice: set exactly one of p, top_n and min_share")
	case !(r.P >= 0 && r.P <= 1) || !(r.MinShare >= 0 && r.MinShare <= 1):
		return fmt.Errorf("expert choice: p %g and min_share %g must lie between 0 and 1", r.P, r.MinShare)
	case r.TopN < 0 || r.Floor < 0:
		return fmt.Errorf("expert choice: top_n %d and floor %d must not be negative", r.TopN, r.Floor)
	case r.Floor > 0 && r.MinShare == 0:
		return fmt.Errorf("expert choice: floor goes with min_share")
	}
	return nil
}

// Rank lists the experts of one layer by falling score, ties by rising id.
func Rank(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return order
}

// Choose picks each layer's experts. Scores should be rounded, see the package comment.
func (r Rule) Choose(scores Table) (*Config, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	c := &Config{Experts: map[int][]int{}}
	for _, layer := range scores.Layers() {
		for e, s := range scores[layer] {
			if math.IsNaN(s) || s < 0 {
				return nil, fmt.Errorf("layer %d: score %g of expert %d", layer, s, e)
			}
		}
		order := Rank(scores[layer])
		c.Experts[layer] = order[:r.count(order, scores[layer])]
	}
	return c, nil
}

// count is how many of the ranked experts are chosen.
func (r Rule) count(order []int, scores []float64) int {
	switch {
	case r.TopN > 0:
		return min(r.TopN, len(order))
	case r.P > 0:
		sum := 0.0
		for n, e := range order {
			if sum >= r.P {
				return n
			}
			sum += scores[e]
		}
		return len(order)
	}
	sum := 0.0
	for _, s := range scores {
		sum += s
	}
	n := 0
	for n < len(order) && scores[order[n]] >= r.MinShare*sum && scores[order[n]] > 0 {
		n++
	}
	return min(max(n, r.Floor), len(order))
}

// Config is an expert configuration: the experts to train, by layer, best first.
type Config struct {
	Experts          map[int][]int
	SharedExperts    bool // whether the shared experts are trained too
	NonExpertModules bool // whether everything else is trained too
}

// Layers lists the layers, ascending.
func (c *Config) Layers() []int { return slices.Sorted(maps.Keys(c.Experts)) }

// Count is the number of experts over all layers.
func (c *Config) Count() int {
	n := 0
	for _, experts := range c.Experts {
		n += len(experts)
	}
	return n
}

// Assignment makes an expert group of the configuration. The running ids count each
// layer's experts from first on, in the configuration's order; a negative first makes
// them equal to the base model's ids.
func (c *Config) Assignment(first int) checkpoint.Assignment {
	a := checkpoint.Assignment{}
	for layer, experts := range c.Experts {
		a[layer] = make([]checkpoint.Pair, len(experts))
		for i, e := range experts {
			a[layer][i] = checkpoint.Pair{My: first + i, Org: e}
			if first < 0 {
				a[layer][i].My = e
			}
		}
	}
	return a
}

// ConfigOf lists the experts of a group, each layer's in the group's order. With the first running
// id, [Config.Assignment] gives the group back, if its running ids count up as those of the
// networks' own groups do.
func ConfigOf(a checkpoint.Assignment) *Config {
	c := &Config{Experts: map[int][]int{}}
	for layer, pairs := range a {
		experts := make([]int, len(pairs))
		for i, p := range pairs {
			experts[i] = p.Org
		}
		c.Experts[layer] = experts
	}
	return c
}

// ParseChoice reads an expert configuration, or an expert assignment, whichever the text is. The
// assignment is nil for a configuration.
func ParseChoice(data []byte) (*Config, checkpoint.Assignment, error) {
	var form map[string]jsontext.Value
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, nil, err
	}
	if _, ok := form["experts"]; ok {
		c, err := ParseConfig(data)
		return c, nil, err
	}
	a, err := checkpoint.ParseAssignment(data)
	if err != nil {
		return nil, nil, fmt.Errorf("neither an expert configuration, which has the key experts, nor an expert assignment: %w",
			err)
	}
	return ConfigOf(a), a, nil
}

// FirstID is the first running id with which [Config.Assignment] gives an assignment back, if there
// is one: -1 where the running ids are the base model's.
func FirstID(a checkpoint.Assignment) (first int, ok bool) {
	c := ConfigOf(a)
	for _, layer := range a.Layers() {
		if len(a[layer]) == 0 {
			continue
		}
		for _, first := range []int{a[layer][0].My, -1} {
			if reflect.DeepEqual(c.Assignment(first), a) {
				return first, true
			}
		}
		return 0, false
	}
	return 0, true
}
