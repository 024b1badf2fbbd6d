package jinja

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type golden struct {
	Vars  json.RawMessage
	Cases []struct {
		Source string
		Text   *string
		Error  string
	}
}

func readGolden(t testing.TB) (golden, map[string]any) {
	t.Helper()
	data, err := os.ReadFile("testdata/render.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	v, err := FromJSON(g.Vars)
	if err != nil {
		t.Fatal(err)
	}
	return g, v.(*Map).values
}

func render(source string, vars map[string]any) (string, error) {
	tmpl, err := Parse("chat", source)
	if err != nil {
		return "", err
	}
	out, err := tmpl.Render(vars, Limits{})
	return out.Text, err
}

// wider are templates that Jinja2 renders, and this package refuses, naming what it lacks.
var wider = map[string]string{
	"{{ 2 ** 3 }}":                               "operator ** is not supported",
	"{{ -n ** 2 }}":                              "operator ** is not supported",
	"{{ '%s' % 1 }}":                             "% of str and int is not supported",
	"{{ 'a'.center(3) }}":                        "method center of a string is not supported",
	"{{ ('a' | safe) + '<' }}":                   "+ of Markup and str is not supported",
	"{{ n[] }}":                                  "a subscript is empty",
	"{{ true[1:] | default('s') }}":              "the slice of a bool is not supported",
	"{{ words[1, 2] }}":                          `unexpected "," in a subscript`,
	"{% raw %}{{ x }}{% endraw %}":               `statement "raw" is not supported`,
	"{% filter upper %}a{% endfilter %}":         `statement "filter" is not supported`,
	"{% with a = 1 %}{{ a }}{% endwith %}":       `statement "with" is not supported`,
	"{% for i in words recursive %}{% endfor %}": "a recursive loop is not supported",
	"{#": "a comment {# has no end #}",
}

// TestAsJinja2 renders what testdata/render.py has rendered with Jinja2.
func TestAsJinja2(t *testing.T) {
	g, vars := readGolden(t)
	if len(g.Cases) < 200 {
		t.Fatalf("only %d cases", len(g.Cases))
	}
	for _, c := range g.Cases {
		got, err := render(c.Source, vars)
		switch {
		case c.Text == nil && err == nil:
			t.Errorf("%q gave %q, Jinja2 %s", c.Source, got, c.Error)
		case c.Text != nil && err != nil:
			if want := wider[c.Source]; want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, Jinja2 gave %q", c.Source, err, *c.Text)
			}
		case c.Text != nil && got != *c.Text:
			t.Errorf("%q\n got %q\nwant %q", c.Source, got, *c.Text)
		}
	}
}

// TestErrors wants the construct and the line.
func TestErrors(t *testing.T) {
	for source, want := range map[string]string{
		"a\n\n{% include 'x' %}":                           `chat:3: statement "include" is not supported`,
		"\n{{ n | nosuch }}":                               `chat:2: filter "nosuch" is not supported`,
		"{% if n is nosuch %}{% endif %}":                  `chat:1: test "nosuch" is not supported`,
		"{% for x in y %}\n{% if x %}\n{% endfor %}":       `chat:3: "endfor" where if is open`,
		"{{ strftime_now('%d') }}":                         "chat:1: strftime_now is not supported: the date of the run would be part of the data",
		"{% if strftime_now is defined %}x{% endif %}":     "",
		"\n{{ raise_exception('roles ' ~ 'x') }}":          "chat:2: the template refuses the conversation: roles x",
		"{{ words.append(1) }}":                            "chat:1: method append of a list is not supported",
		"{{\n missing.attr }}":                             "chat:2: missing is undefined, and has no attribute attr",
		"{{ loop.depth }}":                                 "chat:1: loop is undefined, and has no attribute depth",
		"{% for w in words %}{{ loop.depth }}{% endfor %}": "chat:1: loop.depth is not supported",
		"{{ 9223372036854775807 + 1 }}":                    "chat:1: 9223372036854775807 + 1 is beyond 64 bits",
		"{{ -9223372036854775807 - 2 }}":                   "is beyond 64 bits",
		"{{ 4611686018427387904 * 2 }}":                    "is beyond 64 bits",
		"{{ 99999999999999999999 }}":                       "chat:1: number 99999999999999999999 is too large",
		"{{ 1 // 0 }}":                                     "chat:1: division by zero",
		"{{ 'a\\d400' }}":                                  "",
		`{{ '\ud800' }}`:                                   `escape \ud800 in a string stands for no character`,
		"{{ " + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200) + "}}": "nested deeper than 100 levels",
		"{{ " + strings.Repeat("not ", 200) + "1 }}":                             "nested deeper than 100 levels",
		"{{ d" + strings.Repeat(".a", 200) + " }}":                               "nested deeper than 100 levels",
		"{{ 1" + strings.Repeat("|int", 200) + " }}":                             "nested deeper than 100 levels",
		strings.Repeat("{% if n %}", 200):                                        "nested deeper than 100 levels",
		strings.Repeat("x", sourceBytesMax+1):                                    "the template has 1048577 bytes, more than 1048576",
	} {
		_, vars := readGolden(t)
		_, err := render(source, vars)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60q: %v, want %q", source, err, want)
		}
	}
}

// TestLimits wants templates that would take all memory or time to end with an error.
func TestLimits(t *testing.T) {
	for source, want := range map[string]string{
		"{{ 'ab' * 100000000000 }}": "a text becomes longer than 1000 bytes",
		"{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}":           "a text becomes longer than 1000 bytes",
		"{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}":           "a text becomes longer than 1000 bytes",
		"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}":            "steps",
		"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}": "a text becomes longer than 1000 bytes",
		"{{ range(100001) }}":                                                          "range has more than 100000 numbers",
		"{{ [1] * 100000000000 }}":                                                     "a list becomes longer than 1048576 items",
		"{{ 'aaaaaaaaaa' | replace('a', 'bbbbbbbbbb' * 90) }}":                         "a text becomes longer than 1000 bytes",
		"{{ 'aaaaaaaaaa'.join('b' * 900) }}":                                           "a text becomes longer than 1000 bytes",
		"{{ 'a\na\na' | indent(900) }}":                                                "a text becomes longer than 1000 bytes",
		"{{ {'a': 1} | tojson(indent=100000) }}":                                       "a text becomes longer than 1000 bytes",
		"{% for i in range(99) %}aaaaaaaaaaaaaaaa{% endfor %}":                         "a text becomes longer than 1000 bytes",
		"{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}": "rendering takes more than 200000 steps",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}":                              "macros call each other deeper than 100 levels",
		"{% set ns = namespace() %}{% set ns.x = 1 %}{% for i in range(200) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}": "a value is nested deeper than 100 levels",
	} {
		tmpl, err := Parse("chat", source)
		if err != nil {
			t.Fatalf("%q: %v", source, err)
		}
		if _, err := tmpl.Render(nil, Limits{TextBytes: 1000, Steps: 200_000}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
}

// TestSpans wants the parts that loops over messages and generation blocks wrote.
func TestSpans(t *testing.T) {
	_, vars := readGolden(t)
	tmpl, err := Parse("chat", "<{% for m in messages[1:3] %}{{ m.role }}:{% for c in [m] %}{% generation %}x{% endgeneration %}{% endfor %};{% endfor %}>")
	if err != nil || !tmpl.HasGenerations() {
		t.Fatal(err, tmpl)
	}
	out, err := tmpl.Render(vars, Limits{})
	if err != nil || out.Text != "<user:x;assistant:x;>" {
		t.Fatalf("%q %v", out.Text, err)
	}
	var got []string
	for _, s := range out.Generations {
		got = append(got, out.Text[s.Start:s.End])
	}
	messages := vars["messages"].(*List).Items
	for _, i := range out.Items {
		for k, m := range messages {
			if m == i.Item {
				got = append(got, string(rune('0'+k))+out.Text[i.Start:i.End])
			}
		}
	}
	if want := "x,x,1x,1user:x;,2x,2assistant:x;"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFromJSON(t *testing.T) {
	for _, raw := range []string{"", "[1", `{"a"`, "1 2", "[1,]", strings.Repeat("[", 200)} {
		if v, err := FromJSON([]byte(raw)); err == nil {
			t.Errorf("%q gave %v", raw, v)
		}
	}
	v, err := FromJSON([]byte(`{"a":1,"b":1.5,"a":[true,null,"x",12345678901234567890]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := render("{{ v }}", map[string]any{"v": v}); err != nil || got != "{'a': [True, None, 'x', 1.2345678901234567e+19], 'b': 1.5}" {
		t.Errorf("%q %v", got, err)
	}
}

// FuzzRender wants every template and message to end, within the limits, without a panic.
func FuzzRender(f *testing.F) {
	g, vars := readGolden(f)
	for _, c := range g.Cases {
		f.Add(c.Source, "hello")
	}
	f.Fuzz(func(t *testing.T, source, content string) {
		tmpl, err := Parse("fuzz", source)
		if err != nil {
			return
		}
		message := &Map{}
		message.Set("role", "user")
		message.Set("content", content)
		own := map[string]any{"m": message, "messages": &List{Items: []any{message}}, "n": int64(3), "words": vars["words"], "d": vars["d"]}
		out, err := tmpl.Render(own, Limits{TextBytes: 10_000, Steps: 100_000})
		if err == nil && len(out.Text) > 10_000 {
			t.Fatalf("%d bytes", len(out.Text))
		}
		for _, s := range out.Items {
			if s.Start >= s.End || s.End > len(out.Text) {
				t.Fatalf("span %v of %d bytes", s.Span, len(out.Text))
			}
		}
	})
}
