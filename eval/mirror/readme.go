package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// readmeConfig is an entry of the block configs in a data set's README.
type readmeConfig struct {
	Name    string `yaml:"config_name"`
	DataDir string `yaml:"data_dir"`
	Default bool   `yaml:"default"`
	// DataFiles is a pattern, a list of patterns, or a list of {split, path}, whose path is one or several.
	DataFiles any `yaml:"data_files"`
}

// configsBytesMax bounds the block: the YAML scanner allocates up to 240 times what it reads.
const configsBytesMax = 256 << 10

// readConfigs reads the configurations that a data set's README names; none without README or block.
func readConfigs(hub Hub, loc store.Location) ([]readmeConfig, error) {
	name := loc.String() + "/README.md"
	text, err := store.ReadAll(hub, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	configs, err := parseConfigs(string(text))
	if err != nil {
		return nil, &store.LocationError{Msg: fmt.Sprintf("%s: its block configs %v", name, err)}
	}
	return configs, nil
}

// parseConfigs reads the block configs of a README's text.
func parseConfigs(text string) ([]readmeConfig, error) {
	block := configsBlock(text)
	if len(block) > configsBytesMax {
		return nil, fmt.Errorf("has %d bytes, more than the %d that are read", len(block), configsBytesMax)
	}
	var out struct {
		Configs []readmeConfig `yaml:"configs"`
	}
	if err := store.UnmarshalYAMLLoose([]byte(block), &out); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return out.Configs, nil
}

// configsBlock cuts the key configs out of the YAML in front of a README.
func configsBlock(text string) string {
	rest, ok := strings.CutPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "---\n")
	if !ok {
		return ""
	}
	var block []string
	for line := range strings.Lines(rest) {
		top := line != "\n" && !strings.ContainsRune(" -#", rune(line[0]))
		switch {
		case strings.TrimRight(line, " \n") == "---":
			return strings.Join(block, "")
		case strings.HasPrefix(line, "configs:"):
			block = append(block, line)
		case top && len(block) > 0:
			return strings.Join(block, "")
		case len(block) > 0:
			block = append(block, line)
		}
	}
	return strings.Join(block, "")
}

// choose finds the configuration of a name; without a name that which is called default or marked as such, or the
// only one.
func choose(configs []readmeConfig, name string) (readmeConfig, error) {
	var names []string
	for i, c := range configs {
		configs[i].Name = orElse(c.Name, "default")
		names = append(names, configs[i].Name)
	}
	at := slices.Index(names, orElse(name, "default"))
	if at < 0 && name == "" {
		at = slices.IndexFunc(configs, func(c readmeConfig) bool { return c.Default })
		if len(configs) == 1 {
			at = 0
		}
	}
	if at < 0 {
		return readmeConfig{}, fmt.Errorf("has no configuration %s; set name to one of %s", orElse(name, "default"), list(names))
	}
	return configs[at], nil
}

// patterns are those of a split's files. stated is false where the configuration names no files.
func (c readmeConfig) patterns(split string) (patterns []string, stated bool, err error) {
	if c.DataFiles == nil {
		return nil, false, nil
	}
	bySplit := map[string][]string{}
	entries, ok := c.DataFiles.([]any)
	if !ok {
		entries = []any{c.DataFiles}
	}
	var splits []string
	for _, e := range entries {
		of, paths := "train", e
		if m, ok := e.(map[string]any); ok {
			of, paths = orElse(fmt.Sprint(m["split"]), "train"), m["path"]
		}
		for _, p := range texts(paths) {
			if c.DataDir != "" {
				p = strings.Trim(c.DataDir, "/") + "/" + p
			}
			bySplit[of] = append(bySplit[of], p)
		}
		if splits = append(splits, of); len(bySplit[of]) == 0 {
			return nil, false, fmt.Errorf("the README's configuration %s names no files of the split %s in a way that is known",
				c.Name, of)
		}
	}
	if len(bySplit[split]) == 0 {
		return nil, false, fmt.Errorf("its configuration %s has no split %s; it has %s", c.Name, split, list(splits))
	}
	return bySplit[split], true, nil
}

// texts are the texts of a value that is one or a list of them.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, texts(e)...)
		}
		return out
	}
	return nil
}
