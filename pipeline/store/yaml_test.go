package store

import (
	"strings"
	"testing"
)

func TestUnmarshalYAML(t *testing.T) {
	type config struct {
		A int    `yaml:"a"`
		B string `yaml:"b"`
	}
	for _, c := range []struct {
		text, strict, loose string // what the errors contain; empty means none
	}{
		{"a: 1\nb: two\n", "", ""},
		{"", "", ""},
		{"a: 1\nc: 3\n", `[2:1] unknown field "c"`, ""},
		{"a: 1\na: 2\n", "[2:1] ", "[2:1] "},
		{"a: [\n", "[1:4] ", "[1:4] "},
		{"b: x\na: y\n", "[2:4] ", "[2:4] "},
	} {
		var v config
		check := func(kind string, err error, want string) {
			if (err != nil) != (want != "") || err != nil && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%q %s: error %v, want %q", c.text, kind, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%q %s: error of several lines: %v", c.text, kind, err)
			}
		}
		check("strict", UnmarshalYAML([]byte(c.text), &v), c.strict)
		check("loose", UnmarshalYAMLLoose([]byte(c.text), &v), c.loose)
	}
}
