package quality

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Bound says on which side of a rule's limit a value must lie.
type Bound string

// The bounds of a rule. A value equal to the limit passes.
const (
	AtLeast Bound = "at least"
	AtMost  Bound = "at most"
)

// Rule drops a document whose measurement lies on the wrong side of a limit.
type Rule struct {
	Name    string  // the reason in a drop log, and the key to override the limit
	Measure string  // the name of a [Measurement]
	Bound   Bound   // AtLeast or AtMost
	Limit   float64 // in the measurement's unit
	Source  string  // where the limit comes from
}

// String returns the rule as a condition: "word_count_min: word_count at least 50".
func (r Rule) String() string {
	return fmt.Sprintf("%s: %s %s %v", r.Name, r.Measure, r.Bound, r.Limit)
}

// Rules is an ordered set of rules. It does not change and may be shared.
type Rules struct {
	name     string
	rules    []Rule
	measures []Measurement // rules[i].Measure resolved
	edit     func(*Scratch) string
	doc      string
}

// Verdict is what [Rules.Judge] has to say about a document.
type Verdict struct {
	Keep    bool
	Reason  string  // the name of the rule that failed, empty for Keep
	Measure string  // what it measured
	Value   float64 // the measured value
	Limit   float64 // the rule's limit
	Detail  string  // of a [Condition]: all that it measured
}

// New returns a set of rules. It is an error if a rule has no name or another's, an unknown
// measurement or bound, or a limit that is not finite.
func New(name string, rules []Rule) (*Rules, error) {
	out := &Rules{name: name, rules: slices.Clone(rules)}
	seen := map[string]bool{}
	for i, r := range rules {
		m, ok := findMeasurement(r.Measure)
		switch {
		case r.Name == "":
			return nil, fmt.Errorf("rules %s: rule %d has no name: give it one", name, i)
		case seen[r.Name]:
			return nil, fmt.Errorf("rules %s: two rules are named %s: rename one", name, r.Name)
		case !ok:
			return nil, fmt.Errorf("rules %s: %s: no measurement %q: use one of %s", name, r.Name, r.Measure,
				strings.Join(measurementNames(), ", "))
		case r.Bound != AtLeast && r.Bound != AtMost:
			return nil, fmt.Errorf("rules %s: %s: no bound %q: use %q or %q", name, r.Name, r.Bound,
				AtLeast, AtMost)
		case math.IsNaN(r.Limit) || math.IsInf(r.Limit, 0):
			return nil, fmt.Errorf("rules %s: %s: limit %v is not a finite number", name, r.Name, r.Limit)
		}
		seen[r.Name] = true
		out.measures = append(out.measures, m)
	}
	return out, nil
}

func measurementNames() (names []string) {
	for _, m := range measurements {
		names = append(names, m.Name)
	}
	return names
}

// Name returns the name of the set: that of the preset it comes from.
func (r *Rules) Name() string { return r.name }

// Doc says what the set is, beyond its rules: one or more sentences.
func (r *Rules) Doc() string { return r.doc }

// Describe returns the rules in the order in which they are tried.
func (r *Rules) Describe() []Rule { return slices.Clone(r.rules) }

// With returns a copy whose limits are replaced by overrides, keyed by rule name. A name
// that the set does not have and a limit that is not finite are errors.
func (r *Rules) With(overrides map[string]float64) (*Rules, error) {
	rules := slices.Clone(r.rules)
	left := len(overrides)
	for i := range rules {
		if limit, ok := overrides[rules[i].Name]; ok {
			if limit != rules[i].Limit {
				rules[i].Limit, rules[i].Source = limit, "set by hand, in place of "+rules[i].Source
			}
			left--
		}
	}
	if left == 0 {
		out, err := New(r.name, rules)
		if err == nil {
			out.edit, out.doc = r.edit, r.doc
		}
		return out, err
	}
	var known, unknown []string
	for _, rule := range rules {
		known = append(known, rule.Name)
	}
	for name := range overrides {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return nil, fmt.Errorf("rules %s: no rule %s: use one of %s", r.name, strings.Join(unknown, ", "),
		strings.Join(known, ", "))
}

// Judge returns the verdict on text: the first rule that fails, or Keep. The same text
// always gets the same verdict, whatever scratch was used for before. A nil scratch is
// allowed and costs an allocation.
func (r *Rules) Judge(text string, scratch *Scratch) Verdict {
	if scratch == nil {
		scratch = new(Scratch)
	}
	scratch.Reset(text)
	return r.judge(scratch)
}

// judge is Judge of the scratch's text.
func (r *Rules) judge(scratch *Scratch) Verdict {
	for i, rule := range r.rules {
		value := r.measures[i].of(scratch)
		if rule.Bound == AtLeast && value < rule.Limit || rule.Bound == AtMost && value > rule.Limit {
			return Verdict{Reason: rule.Name, Measure: rule.Measure, Value: value, Limit: rule.Limit}
		}
	}
	return Verdict{Keep: true}
}
