package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// Naming is how a network names the tensors of routed experts. An expert has three
// matrices: gate and up of shape [I,H], down of shape [H,I], with H the hidden size and I
// the experts' intermediate size.
type Naming uint8

const (
	// Native is the Hugging Face layout, with the expert's id in the base model:
	// model.layers.L.mlp.experts.ORG.{gate_proj,up_proj,down_proj}.weight.
	// DeepSeek-V2-Lite and Qwen3-MoE folders, and Connito after its first releases.
	Native Naming = iota
	// V2LiteFused joins gate and up, gate rows first:
	// model.layers.L.mlp.experts.ORG.gate_up_proj [2I,H] and .down_proj [H,I].
	// Connito-AI/Connito at 0c936fa.
	V2LiteFused
	// Qwen3Next is Native with the expert's running id, see [Pair]:
	// model.layers.L.mlp.experts.MY.{gate_proj,up_proj,down_proj}.weight.
	// CognitoBlocks/BlockZero at 907d2e4.
	Qwen3Next
)

var namingNames = [...]string{"native", "v2lite-fused", "qwen3next"}

// String returns the name used in network profiles, such as "v2lite-fused".
func (n Naming) String() string {
	if int(n) < len(namingNames) {
		return namingNames[n]
	}
	return fmt.Sprintf("Naming(%d)", uint8(n))
}

// ParseNaming returns the naming of a name such as "v2lite-fused".
func ParseNaming(name string) (Naming, error) {
	if i := slices.Index(namingNames[:], name); i >= 0 {
		return Naming(i), nil
	}
	return 0, fmt.Errorf("unknown tensor naming %q; there are %v", name, namingNames)
}

// Part is a matrix of a routed expert.
type Part uint8

// The matrices. GateUp is gate and up joined, gate rows first.
const (
	Gate Part = iota
	Up
	Down
	GateUp
)

var partNames = [...]string{"gate_proj", "up_proj", "down_proj", "gate_up_proj"}

// String returns the matrix's name within a tensor name, such as "gate_proj".
func (p Part) String() string { return partNames[p] }

// ExpertTensor says which matrix of which routed expert a tensor is. Whether Expert is
// the id in the base model or the running id depends on the naming.
type ExpertTensor struct {
	Layer, Expert int
	Part          Part
}

// Name returns the tensor's name. Under V2LiteFused the part is GateUp or Down, else
// Gate, Up or Down.
func (n Naming) Name(t ExpertTensor) string {
	name := fmt.Sprintf("model.layers.%d.mlp.experts.%d.%s", t.Layer, t.Expert, t.Part)
	if n == V2LiteFused {
		return name
	}
	return name + ".weight"
}

var expertPattern = regexp.MustCompile(
	`^model\.layers\.(0|[1-9][0-9]{0,8})\.mlp\.experts\.(0|[1-9][0-9]{0,8})\.([a-z_]+?)(\.weight)?$`)

// Parse returns what [Naming.Name] was given; ok is false for every other name.
func (n Naming) Parse(name string) (t ExpertTensor, ok bool) {
	m := expertPattern.FindStringSubmatch(name)
	if m == nil {
		return ExpertTensor{}, false
	}
	t.Layer, _ = strconv.Atoi(m[1])
	t.Expert, _ = strconv.Atoi(m[2])
	part := slices.Index(partNames[:], m[3])
	if part < 0 || !slices.Contains(n.parts(), Part(part)) {
		return ExpertTensor{}, false
	}
	t.Part = Part(part)
	return t, n.Name(t) == name
}

// parts lists the tensors of one expert.
func (n Naming) parts() []Part {
	if n == V2LiteFused {
		return []Part{GateUp, Down}
	}
	return []Part{Gate, Up, Down}
}

// id returns the expert's id in tensor names.
func (n Naming) id(p Pair) int {
	if n == Qwen3Next {
		return p.My
	}
	return p.Org
}

// ToProfile renames, and for V2LiteFused joins, the native tensors of a group's experts
// into those of another naming, in the order of the assignment. Tensors that belong to no
// expert of the group and experts that lack a matrix are errors; an expert with no tensor
// at all is left out. Values are moved only when the results are read.
func (n Naming) ToProfile(group Assignment, native []Tensor) ([]Tensor, error) {
	return convertNames(Native, n, group, native)
}

// FromProfile is the reverse of [Naming.ToProfile].
func (n Naming) FromProfile(group Assignment, tensors []Tensor) ([]Tensor, error) {
	return convertNames(n, Native, group, tensors)
}

// partOf says where an expert's matrix is: which expert of the group, and which part.
type partOf struct {
	layer int
	pair  Pair
	part  Part
}

func convertNames(from, to Naming, group Assignment, tensors []Tensor) ([]Tensor, error) {
	found, err := sortParts(from, group, tensors)
	if err != nil {
		return nil, err
	}
	var out []Tensor
	for _, layer := range group.Layers() {
		for _, pair := range group[layer] {
			parts, err := collectParts(from, found, layer, pair)
			if err != nil {
				return nil, err
			}
			if len(parts) == 0 {
				continue
			}
			if from == V2LiteFused && to != V2LiteFused {
				parts, err = split(parts)
			} else if to == V2LiteFused && from != V2LiteFused {
				parts, err = join(parts)
			}
			if err != nil {
				return nil, err
			}
			for i, part := range to.parts() {
				parts[i].Name = to.Name(ExpertTensor{layer, to.id(pair), part})
				out = append(out, parts[i])
			}
		}
	}
	return out, nil
}

func sortParts(from Naming, group Assignment, tensors []Tensor) (map[partOf]Tensor, error) {
	found := make(map[partOf]Tensor, len(tensors))
	for _, t := range tensors {
		e, ok := from.Parse(t.Name)
		if !ok {
			return nil, fmt.Errorf("tensor %q is no routed expert's in %s naming", t.Name, from)
		}
		at := slices.IndexFunc(group[e.Layer], func(p Pair) bool { return from.id(p) == e.Expert })
		if at < 0 {
			return nil, fmt.Errorf("tensor %q belongs to no expert of the group", t.Name)
		}
		key := partOf{e.Layer, group[e.Layer][at], e.Part}
		if _, twice := found[key]; twice {
			return nil, fmt.Errorf("two tensors are called %q", t.Name)
		}
		found[key] = t
	}
	return found, nil
}

// collectParts returns one expert's tensors in the order of from.parts(), or none.
func collectParts(from Naming, found map[partOf]Tensor, layer int, pair Pair) ([]Tensor, error) {
	var parts []Tensor
	var missing string
	for _, part := range from.parts() {
		if t, ok := found[partOf{layer, pair, part}]; ok {
			parts = append(parts, t)
		} else {
			missing = from.Name(ExpertTensor{layer, from.id(pair), part})
		}
	}
	if len(parts) > 0 && missing != "" {
		return nil, fmt.Errorf("tensor %q is missing beside %q", missing, parts[0].Name)
	}
	return parts, nil
}

// join makes gate_up and down of gate, up and down.
func join(parts []Tensor) ([]Tensor, error) {
	gate, up, down := parts[0], parts[1], parts[2]
	if len(gate.Shape) != 2 || !slices.Equal(gate.Shape, up.Shape) || gate.DType != up.DType {
		return nil, fmt.Errorf("tensor %q is %s %v, but %q is %s %v: they cannot be joined",
			gate.Name, gate.DType, gate.Shape, up.Name, up.DType, up.Shape)
	}
	read := func() ([]byte, error) {
		a, err := gate.values()
		if err != nil {
			return nil, err
		}
		b, err := up.values()
		return slices.Concat(a, b), err
	}
	joined := Tensor{DType: gate.DType, Shape: []int{2 * gate.Shape[0], gate.Shape[1]}, Read: read}
	return []Tensor{joined, down}, nil
}

// split makes gate, up and down of gate_up and down.
func split(parts []Tensor) ([]Tensor, error) {
	joined, down := parts[0], parts[1]
	if len(joined.Shape) != 2 || joined.Shape[0]%2 != 0 {
		return nil, fmt.Errorf("tensor %q of shape %v cannot be split into gate and up",
			joined.Name, joined.Shape)
	}
	half := func(second bool) Tensor {
		read := func() ([]byte, error) {
			data, err := joined.values()
			if err != nil || !second {
				return data[:len(data)/2], err
			}
			return data[len(data)/2:], nil
		}
		return Tensor{DType: joined.DType, Shape: []int{joined.Shape[0] / 2, joined.Shape[1]}, Read: read}
	}
	return []Tensor{half(false), half(true), down}, nil
}
