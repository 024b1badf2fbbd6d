package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// WriteReference writes the reference of plans in Markdown: the sections, then every
// kind of stage in alphabetical order.
func (r *Registry) WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString("## Sections\n\n")
	referenceTable(&b, reflect.TypeFor[Plan](), reflect.ValueOf(newPlan("")).Elem())
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	for _, k := range r.Kinds() {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		if err := k.WriteReference(w); err != nil {
			return err
		}
	}
	return nil
}

// WriteReference writes the reference of one kind of stage in Markdown.
func (k Kind) WriteReference(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", k.Name, k.Summary)
	if doc := strings.TrimSpace(k.Doc); doc != "" {
		b.WriteString(doc + "\n\n")
	}
	if flow := flowText(k); flow != "" {
		b.WriteString(flow + "\n\n")
	}
	if len(visible(fieldsOf(k.config))) > 0 {
		referenceTable(&b, k.config, k.def)
	} else {
		b.WriteString("It has no keys.\n")
	}
	fmt.Fprintf(&b, "\n```yaml\n%s\n```\n", strings.TrimSpace(k.Example))
	_, err := io.WriteString(w, b.String())
	return err
}

// flowText says what a stage takes and makes.
func flowText(k Kind) string {
	var parts []string
	for _, p := range []struct {
		verb string
		data []Data
	}{{"takes", k.Takes}, {"makes", k.Makes}} {
		if len(p.data) > 0 {
			names := strings.Trim(strings.ReplaceAll(fmt.Sprint(p.data), " ", ", "), "[]")
			parts = append(parts, p.verb+" "+names)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "It " + strings.Join(parts, " and ") + "."
}

func referenceTable(b *strings.Builder, t reflect.Type, def reflect.Value) {
	b.WriteString("| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
	referenceRows(b, "", t, def)
}

// referenceRows writes a row for each key, and for the keys below it.
func referenceRows(b *strings.Builder, prefix string, t reflect.Type, def reflect.Value) {
	for _, f := range visible(fieldsOf(t)) {
		key, v := prefix+f.key, def.FieldByIndex(f.index)
		inner, below := f.typ, key+"."
		if inner.Kind() == reflect.Slice && isRecord(elem(inner.Elem())) {
			inner, below = inner.Elem(), key+"[]."
		}
		inner = elem(inner)
		nested := isRecord(inner) && inner != reflect.TypeFor[Step]()
		if !nested || f.typ.Kind() != reflect.Struct || inner == reflect.TypeFor[KeepPolicy]() {
			name := "`" + key + "`"
			if f.alias != "" {
				name += ", `" + f.alias + "`"
			}
			row := []string{name, wantName(f), defaultText(f, v), f.doc}
			b.WriteString("| " + strings.Join(escapeCells(row), " | ") + " |\n")
		}
		if nested {
			if v.Kind() != reflect.Struct {
				v = newElement(inner).Elem()
			}
			referenceRows(b, below, inner, v)
		}
	}
}

// escapeCells keeps the cells of a table row in their columns.
func escapeCells(cells []string) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(c)
	}
	return out
}

// defaultText shows a default in the reference.
func defaultText(f field, def reflect.Value) string {
	text := ""
	switch shown := defaultOf(f, def); {
	case f.required && def.IsZero() && f.unless != "":
		text = "required unless `" + f.unless + "` is set"
	case f.required && def.IsZero():
		text = "required"
	case shown != nil:
		encoded, err := json.Marshal(shown)
		if err != nil {
			panic("pipeline: default has no text: " + err.Error())
		}
		text = "`" + strings.Trim(string(encoded), `"`) + "`"
	}
	if f.network != "" {
		text = strings.TrimSpace(text + " the profile's `" + f.network + "`")
	}
	return text
}
