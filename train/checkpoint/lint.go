package checkpoint

import (
	"fmt"
	"math"
	"slices"
)

// Reason is why a validator rejects an update, or why the update is not what was meant.
type Reason string

// The reasons. EmptyUpdate and ExpertGroupOrNaN are Connito's own rules (0c936fa: the
// update must not be empty, every key must be a routed expert whose id is one of the
// group's, no value may be NaN or infinite); the others break loading or mean a mistake.
const (
	EmptyUpdate      Reason = "empty_update"        // no tensor
	ExpertGroupOrNaN Reason = "expert_group_or_nan" // foreign tensor, NaN or infinity
	WrongName        Reason = "wrong_name"          // the group's, but not as the profile names it
	WrongShape       Reason = "wrong_shape"         // not the base model's shape, or not in the base model
	WrongDType       Reason = "wrong_dtype"         // not F32, F16 or BF16
	MissingTensor    Reason = "missing_tensor"      // an expert of the group that the update lacks
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

// Lint checks an update, which is to hold the tensors of a group's routed experts and
// nothing else. Base describes tensors by their native name, see [Source.Info]; with nil
// shapes are not checked. The findings are in the order of names; none means that the
// update would be accepted. The error is one of reading.
func Lint(update Source, naming Naming, group Assignment, base func(string) (Info, bool)) ([]Finding, error) {
	var out []Finding
	names := update.Names()
	if len(names) == 0 {
		out = append(out, Finding{EmptyUpdate, "", "the update has no tensor"})
	}
	for _, name := range names {
		if f, bad := lintName(name, naming, group); bad {
			out = append(out, f)
			continue
		}
		info, _ := update.Info(name)
		if f, bad := lintShape(name, info, naming, group, base); bad {
			out = append(out, f)
		}
		f, bad, err := lintValues(update, name, info)
		if err != nil {
			return nil, err
		}
		if bad {
			out = append(out, f)
		}
	}
	return append(out, lintMissing(update, naming, group)...), nil
}

func lintName(name string, naming Naming, group Assignment) (Finding, bool) {
	if t, ok := naming.Parse(name); ok {
		if slices.ContainsFunc(group[t.Layer], func(p Pair) bool { return naming.id(p) == t.Expert }) {
			return Finding{}, false
		}
	}
	for _, n := range []Naming{Native, V2LiteFused, Qwen3Next} {
		t, ok := n.Parse(name)
		ours := func(p Pair) bool { return p.My == t.Expert || p.Org == t.Expert }
		if ok && slices.ContainsFunc(group[t.Layer], ours) {
			return Finding{WrongName, name, "not as " + naming.String() + " names the group's experts"}, true
		}
	}
	return Finding{ExpertGroupOrNaN, name, "no routed expert of the group"}, true
}

func lintShape(name string, info Info, naming Naming, group Assignment,
	base func(string) (Info, bool)) (Finding, bool) {
	if !info.DType.Real() {
		return Finding{WrongDType, name, info.DType.String() + " is not F32, F16 or BF16"}, true
	}
	if base == nil {
		return Finding{}, false
	}
	t, _ := naming.Parse(name)
	at := slices.IndexFunc(group[t.Layer], func(p Pair) bool { return naming.id(p) == t.Expert })
	native := ExpertTensor{t.Layer, group[t.Layer][at].Org, t.Part}
	if t.Part == GateUp {
		native.Part = Gate
	}
	want, ok := base(Native.Name(native))
	if !ok {
		return Finding{WrongShape, name, "the base model has no " + Native.Name(native)}, true
	}
	shape := slices.Clone(want.Shape)
	if t.Part == GateUp && len(shape) > 0 {
		shape[0] *= 2
	}
	if !slices.Equal(shape, info.Shape) {
		detail := fmt.Sprintf("shape %v, but the base model has %v", info.Shape, shape)
		return Finding{WrongShape, name, detail}, true
	}
	return Finding{}, false
}

func lintValues(update Source, name string, info Info) (Finding, bool, error) {
	if !info.DType.Real() {
		return Finding{}, false, nil
	}
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

func lintMissing(update Source, naming Naming, group Assignment) []Finding {
	var out []Finding
	for _, layer := range group.Layers() {
		for _, pair := range group[layer] {
			for _, part := range naming.parts() {
				name := naming.Name(ExpertTensor{layer, naming.id(pair), part})
				if _, ok := update.Info(name); !ok {
					out = append(out, Finding{MissingTensor, name, "the update lacks it"})
				}
			}
		}
	}
	return out
}
