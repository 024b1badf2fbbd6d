package pipeline

import (
	"maps"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// Vars are the variables of a plan with their values; one that is null and not given
// by a flag is absent.
type Vars map[string]string

// decodePlan takes the values that were read before everything else.
func (v *Vars) decodePlan(d *decoder, _ *store.YAMLNode, _ string, _ field) { *v = d.vars }

// readVars fills d.vars from the plan's section and from flags, and reports flags for
// variables that the plan does not declare: they are most likely misspelt.
func (d *decoder) readVars(root *store.YAMLNode) {
	d.vars, d.declared = Vars{}, map[string]bool{}
	section := child(root, "vars")
	if section != nil && section.Kind != store.YAMLMap && !isNull(section) {
		d.report(section, "vars", "", "want a mapping of names to values, got %s", describe(section))
	}
	if section != nil && section.Kind == store.YAMLMap {
		for i, key := range section.Keys {
			d.readVar(key, section.Items[i])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.opt.Vars)) {
		if !d.declared[name] {
			hint := Suggest(name, slices.Sorted(maps.Keys(d.declared)))
			d.reportFlag("--var "+name+"="+d.opt.Vars[name], "vars."+name, hint,
				"the plan has no such variable; declare it under vars")
			continue
		}
		d.vars[name] = d.opt.Vars[name]
	}
}

func (d *decoder) readVar(key, value *store.YAMLNode) {
	path := join("vars", key.Text)
	switch {
	case !isVarName(key.Text):
		d.report(key, path, "", "want a name of letters, digits and _")
	case d.declared[key.Text]:
		d.report(key, path, "", "declared twice; remove one")
	case value.Kind != store.YAMLScalar:
		d.report(value, path, "", "want one value, got %s", describe(value))
	case !isNull(value):
		d.vars[key.Text] = d.expand(value, path, false)
	}
	d.declared[key.Text] = true
}

// substitute replaces ${name} in every value below n, but in no key.
func (d *decoder) substitute(n *store.YAMLNode, path string) {
	switch n.Kind {
	case store.YAMLMap:
		for i, item := range n.Items {
			if path != "" || n.Keys[i].Text != "vars" {
				d.substitute(item, join(path, n.Keys[i].Text))
			}
		}
	case store.YAMLList:
		for i, item := range n.Items {
			d.substitute(item, indexed(path, i))
		}
	case store.YAMLScalar:
		if !strings.Contains(n.Text, "${") {
			return
		}
		d.raw[n] = n.Text
		whole := isReference(n.Text)
		n.Text = d.expand(n, path, true)
		// A value that is one variable has the type of what it stands for; the quotes
		// are there because YAML asks for them inside {…}.
		n.Quoted = n.Quoted && !whole
	}
}

// expandedBytesMax bounds what variables add to a plan.
const expandedBytesMax = 4 << 20

// expand returns n's text with its references replaced; $${ stands for a literal ${.
// After a mistake, n is marked so that nothing more is said about it.
func (d *decoder) expand(n *store.YAMLNode, path string, variables bool) string {
	var out strings.Builder
	rest := n.Text
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String()
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			out.WriteString(escaped + "${")
			rest = after
			continue
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			d.spoil(n, path, "", "${ is never closed; write ${name}, or $${ for the characters")
			return ""
		}
		value, ok := d.lookup(n, path, name, variables)
		if !ok {
			return ""
		}
		if !d.grow(n, path, len(value)) {
			return ""
		}
		out.WriteString(before + value)
		rest = tail
	}
}

// grow accounts for what a variable adds, and reports once that it is too much.
func (d *decoder) grow(n *store.YAMLNode, path string, added int) bool {
	already := d.expanded > expandedBytesMax
	d.expanded += added
	switch {
	case already:
		d.bad[n] = true
	case d.expanded > expandedBytesMax:
		d.spoil(n, path, "", "variables make the plan larger than %d bytes; use fewer", expandedBytesMax)
	default:
		return true
	}
	return false
}

// lookup resolves one reference.
func (d *decoder) lookup(n *store.YAMLNode, path, name string, variables bool) (string, bool) {
	if env, ok := strings.CutPrefix(name, "env:"); ok {
		return d.lookupEnv(n, path, env)
	}
	if !isVarName(name) {
		d.spoil(n, path, "", "${%s} is no variable; write ${name} or ${env:NAME}", short(name))
		return "", false
	}
	if !variables {
		d.spoil(n, path, "", "a variable cannot use another; write the value, or ${env:NAME}")
		return "", false
	}
	value, ok := d.vars[name]
	switch {
	case ok:
		return value, true
	case d.declared[name]:
		d.spoil(n, path, "", "variable %s has no value; give it with --var %s=VALUE", name, name)
	default:
		d.spoil(n, path, Suggest(name, slices.Sorted(maps.Keys(d.declared))),
			"unknown variable %s; declare it under vars", name)
	}
	return "", false
}

func (d *decoder) lookupEnv(n *store.YAMLNode, path, name string) (string, bool) {
	if d.opt.Env != nil {
		if value, ok := d.opt.Env(name); ok {
			return value, true
		}
	}
	d.spoil(n, path, "", "environment variable %s is not set; export it", quoteShort(name))
	return "", false
}

// spoil reports a mistake in n and marks it.
func (d *decoder) spoil(n *store.YAMLNode, path, hint, format string, args ...any) {
	d.bad[n] = true
	d.report(n, path, hint, format, args...)
}

// isReference reports whether text is one reference and nothing else.
func isReference(text string) bool {
	return strings.HasPrefix(text, "${") && strings.IndexByte(text, '}') == len(text)-1
}

func isVarName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
