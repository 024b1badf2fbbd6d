package pipeline

import (
	"slices"
	"strconv"
	"strings"

	"bzdata/pipeline/store"
)

// Override is a value given on the command line in place of the plan's.
//
// Key names it by the plan's sections, as in seed, network.profile or
// input[0].limit_documents, or by a stage's id (or kind, if the plan has one of it) and
// the keys of its configuration, as in minhash.bands. A Value that starts with one of
// [ { " ' is read as YAML; any other stands as it is, and may hold ${name}.
type Override struct{ Key, Value string }

func (o Override) flag() string { return "--set " + o.Key + "=" + o.Value }

// override changes the tree of the plan, so that what follows treats the value like one
// that is written in the file.
func (d *decoder) override(root *store.YAMLNode, o Override) {
	segments, ok := splitKey(o.Key)
	if !ok {
		d.reportFlag(o.flag(), "", "",
			"want KEY=VALUE with a key such as minhash.bands, seed or input[0].path")
		return
	}
	value, ok := d.overrideValue(o)
	if !ok {
		return
	}
	start, path := root, ""
	switch {
	case segments[0] == "vars":
		d.reportFlag(o.flag(), "vars", "", "variables are given by --var NAME=VALUE")
		return
	case !slices.Contains(planKeys(), segments[0]):
		if start, path, ok = d.stageConfig(root, o, segments[0]); !ok {
			return
		}
		segments = segments[1:]
	}
	d.place(start, path, segments, value, o)
}

// overrideValue makes the node of a value; it stands nowhere in the file.
func (d *decoder) overrideValue(o Override) (*store.YAMLNode, bool) {
	value := &store.YAMLNode{Text: o.Value}
	if o.Value != "" && strings.ContainsRune("[{\"'", rune(o.Value[0])) {
		parsed, problems := store.ParseYAML([]byte(o.Value))
		if len(problems) > 0 || parsed == nil {
			d.reportFlag(o.flag(), "", "", "the value is no YAML: %s", problems[0].Msg)
			return nil, false
		}
		value = parsed
	}
	d.mark(value, origin{flag: o.flag(), name: "--set"})
	return value, true
}

// place puts value at the path that segments lead to from n, making maps on the way.
func (d *decoder) place(
	n *store.YAMLNode, path string, segments []string, value *store.YAMLNode, o Override,
) {
	for i, segment := range segments {
		slot := d.slot(n, path, segment, o)
		if slot == nil {
			return
		}
		path = join(path, segment)
		if i == len(segments)-1 {
			*slot = value
			return
		}
		n = *slot
	}
}

// slot returns where n keeps the element that segment names, a key or [index].
func (d *decoder) slot(n *store.YAMLNode, path, segment string, o Override) **store.YAMLNode {
	if segment[0] == '[' {
		i, err := strconv.Atoi(segment[1 : len(segment)-1])
		if n.Kind != store.YAMLList || err != nil || i < 0 || i >= len(n.Items) {
			d.reportFlag(o.flag(), join(path, segment), "", "the plan has %s here", describe(n))
			return nil
		}
		return &n.Items[i]
	}
	if isNull(n) {
		n.Kind, n.Text = store.YAMLMap, ""
	}
	if n.Kind != store.YAMLMap {
		d.reportFlag(o.flag(), join(path, segment), "",
			"the plan has %s here, which has no keys", describe(n))
		return nil
	}
	for i, key := range n.Keys {
		if key.Text == segment {
			return &n.Items[i]
		}
	}
	key := &store.YAMLNode{Text: segment}
	hole := &store.YAMLNode{}
	d.mark(key, origin{flag: o.flag(), name: "--set"})
	d.mark(hole, origin{flag: o.flag(), name: "--set"})
	n.Keys, n.Items = append(n.Keys, key), append(n.Items, hole)
	return &n.Items[len(n.Items)-1]
}

// stageConfig finds the configuration of the stage that name means, by id or by kind.
func (d *decoder) stageConfig(root *store.YAMLNode, o Override, name string) (*store.YAMLNode, string, bool) {
	var ids, same []string
	var found *store.YAMLNode
	var path string
	for i, e := range stageEntries(child(root, "stages")) {
		ids = append(ids, e.id)
		if e.id == name {
			return e.config, join(indexed("stages", i), e.kind), true
		}
		if e.kind == name {
			same = append(same, e.id)
			found, path = e.config, join(indexed("stages", i), e.kind)
		}
	}
	switch len(same) {
	case 1:
		return found, path, true
	case 0:
		d.reportFlag(o.flag(), "", Suggest(name, append(ids, planKeys()...)),
			"%q is no section and no stage of the plan; the stages are %s", name, list(ids))
	default:
		d.reportFlag(o.flag(), "", "", "%q means several stages; name one by its id: %s", name, list(same))
	}
	return nil, "", false
}

// splitKey cuts a.b[0].c into a, b, [0], c.
func splitKey(key string) ([]string, bool) {
	var out []string
	for part := range strings.SplitSeq(key, ".") {
		name, rest, _ := strings.Cut(part, "[")
		if name == "" {
			return nil, false
		}
		out = append(out, name)
		if len(name) == len(part) {
			continue
		}
		for index := range strings.SplitSeq(rest, "[") {
			digits, closed := strings.CutSuffix(index, "]")
			if _, err := strconv.ParseUint(digits, 10, 31); err != nil || !closed {
				return nil, false
			}
			out = append(out, "["+digits+"]")
		}
	}
	return out, true
}
