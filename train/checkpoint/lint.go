package checkpoint

import (
	"fmt"
	"math"
	"slices"
)

// Reason is why a validator rejects an update or gives it no score, or why it is not what was meant.
type Reason string

// The reasons. StateDictParseFailed and ExpertGroupOrNaN are Connito's own names (0c936fa: the file
// must hold plain tensors only; the update must not be empty, every key must be a routed expert whose id
// is one of the group's, no value may be NaN or infinite). ZeroDelta and StaleVersion are accepted there, and
// score nothing: a copy of the base ties with it, and the loss is compared with the current base's.
// HashFails is Block Zero's (907d2e4), which hashes values through numpy, or that of a profile. The others break
// loading or mean a mistake.
const (
	StateDictParseFailed Reason = "statedict_parse_failed" // no file of plain tensors
	EmptyUpdate          Reason = "empty_update"           // no tensor
	ExpertGroupOrNaN     Reason = "expert_group_or_nan"    // foreign tensor, NaN or infinity
	WrongName            Reason = "wrong_name"             // the group's, but not as the profile names it
	WrongShape           Reason = "wrong_shape"            // not the base model's shape, or not in the base model
	WrongDType           Reason = "wrong_dtype"            // not F32, F16 or BF16
	HashFails            Reason = "hash_fails"             // BF16, which numpy does not have, or what Rules.DTypes lacks
	MissingTensor        Reason = "missing_tensor"         // an expert of the group that the update lacks
	ZeroDelta            Reason = "zero_delta"             // every value is the base's
	StaleVersion         Reason = "stale_version"          // trained from an older base than the current one
)

// Finding is one fault of an update.
type Finding struct {
	Reason Reason
	Tensor string // empty when the whole update is meant
	Detail string
}

// String is one line.
func (f Finding) String() string {
	if f.Tensor == "" {
		return fmt.Sprintf("%s: %s", f.Reason, f.Detail)
	}
	return fmt.Sprintf("%s: %s: %s", f.Reason, f.Tensor, f.Detail)
}

// Rules are what an update is held against.
type Rules struct {
	Naming Naming
	// Group is the group's experts; nil allows every tensor of the base, under native names.
	Group Assignment
	// DTypes are the types that the network can hash; empty leaves that to Naming.
	DTypes []DType
	// Base has the current base's tensors under native names; nil leaves shapes and copies unchecked.
	Base Source
	// From is the checkpoint that the update was trained from, and Current the network's newest, as far as
	// they are known.
	From, Current *FolderName
}

// Fatal reports whether a network rejects the update for it. What is not fatal is accepted, and scores
// nothing.
func (f Finding) Fatal() bool { return f.Reason != ZeroDelta && f.Reason != StaleVersion }

// Lint checks an update, which is to hold the tensors of a group's routed experts and
// nothing else. The findings on tensors are in the order of names; none at all means that the
// update would be accepted and may score. The error is one of reading.
func Lint(update Source, rules Rules) ([]Finding, error) {
	var out []Finding
	names := update.Names()
	if len(names) == 0 {
		out = append(out, Finding{EmptyUpdate, "", "the update has no tensor"})
	}
	for _, name := range names {
		found, err := rules.tensor(update, name)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	out = append(out, rules.missing(update)...)
	if len(out) == 0 {
		zero, err := rules.zeroDelta(update)
		if err != nil {
			return nil, err
		}
		out = append(out, zero...)
	}
	return append(out, rules.stale()...), nil
}

func (r Rules) tensor(update Source, name string) (out []Finding, err error) {
	if r.Group != nil {
		if f, bad := r.name(name); bad {
			return []Finding{f}, nil
		}
	}
	info, _ := update.Info(name)
	if !info.DType.Convertible() {
		return []Finding{{WrongDType, name, info.DType.String() + " is not F32, F16 or BF16"}}, nil
	}
	switch {
	case len(r.DTypes) > 0 && !slices.Contains(r.DTypes, info.DType):
		detail := fmt.Sprintf("%s, which the network cannot hash; store one of %v", info.DType, r.DTypes)
		out = append(out, Finding{HashFails, name, detail})
	case len(r.DTypes) == 0 && info.DType == BF16 && r.Naming == Qwen3Next:
		out = append(out, Finding{HashFails, name, "BF16, which Block Zero cannot hash; store F16 or F32"})
	}
	if f, bad := r.shape(name, info); bad {
		out = append(out, f)
	}
	f, bad, err := finiteValues(update, name)
	if bad {
		out = append(out, f)
	}
	return out, err
}

func (r Rules) name(name string) (Finding, bool) {
	if t, ok := r.Naming.Parse(name); ok {
		if slices.ContainsFunc(r.Group[t.Layer], func(p Pair) bool { return r.Naming.id(p) == t.Expert }) {
			return Finding{}, false
		}
	}
	for _, n := range []Naming{Native, V2LiteFused, Qwen3Next} {
		t, ok := n.Parse(name)
		ours := func(p Pair) bool { return p.My == t.Expert || p.Org == t.Expert }
		if ok && slices.ContainsFunc(r.Group[t.Layer], ours) {
			return Finding{WrongName, name, "not as " + r.Naming.String() + " names the group's experts"}, true
		}
	}
	return Finding{ExpertGroupOrNaN, name, "no routed expert of the group"}, true
}

func (r Rules) shape(name string, info Info) (Finding, bool) {
	if r.Base == nil {
		return Finding{}, false
	}
	native, joined := r.native(name)
	want, ok := r.Base.Info(native)
	if !ok {
		return Finding{WrongShape, name, "the base model has no " + native}, true
	}
	shape := slices.Clone(want.Shape)
	if joined && len(shape) > 0 {
		shape[0] *= 2
	}
	if !slices.Equal(shape, info.Shape) {
		detail := fmt.Sprintf("shape %v, but the base model has %v", info.Shape, shape)
		return Finding{WrongShape, name, detail}, true
	}
	return Finding{}, false
}

// native is the base's name of a tensor of the update, of its first half if it is two joined.
func (r Rules) native(name string) (native string, joined bool) {
	if r.Group == nil {
		return name, false
	}
	t, _ := r.Naming.Parse(name)
	at := slices.IndexFunc(r.Group[t.Layer], func(p Pair) bool { return r.Naming.id(p) == t.Expert })
	e := ExpertTensor{t.Layer, r.Group[t.Layer][at].Org, t.Part}
	if joined = t.Part == GateUp; joined {
		e.Part = Gate
	}
	return Native.Name(e), joined
}

func finiteValues(update Source, name string) (Finding, bool, error) {
	values, err := update.Float32(name, nil)
	if err != nil {
		return Finding{}, false, err
	}
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return Finding{ExpertGroupOrNaN, name, fmt.Sprintf("value %d is %g", i, v)}, true, nil
		}
	}
	return Finding{}, false, nil
}

func (r Rules) missing(update Source) []Finding {
	var out []Finding
	for _, layer := range r.Group.Layers() {
		for _, pair := range r.Group[layer] {
			for _, part := range r.Naming.parts() {
				name := r.Naming.Name(ExpertTensor{layer, r.Naming.id(pair), part})
				if _, ok := update.Info(name); !ok {
					out = append(out, Finding{MissingTensor, name, "the update lacks it"})
				}
			}
		}
	}
	return out
}

// zeroDelta compares an update without other faults with the base.
func (r Rules) zeroDelta(update Source) ([]Finding, error) {
	if r.Base == nil {
		return nil, nil
	}
	native := update
	if r.Group != nil {
		var err error
		if native, err = FromProfile(update, r.Naming, r.Group); err != nil {
			return nil, err
		}
	}
	same, err := IsCopy(native, r.Base)
	if err != nil || !same {
		return nil, err
	}
	return []Finding{{ZeroDelta, "", "every value is the base's: nothing was trained, and a tie scores 0"}}, nil
}

func (r Rules) stale() []Finding {
	if r.From == nil || r.Current == nil || r.From.Version >= r.Current.Version {
		return nil
	}
	return []Finding{{StaleVersion, "", fmt.Sprintf("trained from global version %d, but the network is at %d",
		r.From.Version, r.Current.Version)}}
}
