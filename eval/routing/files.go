package routing

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"bzdata/pipeline/store"
)

// recordBytesMax is the longest line of a record file that is read.
const recordBytesMax = 256 << 20

// ReadRecords adds a layer's expert_weights file: per sequence one line of expert ids
// separated by tabs, two tabs, and as many weights separated by tabs, k of each per token.
// Empty lines are passed over. Errors name the line.
func (a *Accumulator) ReadRecords(layer int, r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<20), recordBytesMax)
	number := 0
	for lines.Scan() {
		number++
		if len(lines.Bytes()) == 0 {
			continue
		}
		experts, weights, err := parseRecord(lines.Text())
		if err == nil {
			err = a.add(layer, experts, func(i int) float64 { return weights[i] })
		}
		if err == nil && a.OnRecord != nil {
			a.OnRecord(layer, number, experts, single(weights))
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", number+1, err)
	}
	return nil
}

func single(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

func parseRecord(line string) ([]int32, []float64, error) {
	ids, values, ok := strings.Cut(strings.TrimRight(line, "\t\r"), "\t\t")
	if !ok {
		return nil, nil, errors.New("no two tabs between experts and weights")
	}
	var experts []int32
	for id := range strings.SplitSeq(ids, "\t") {
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil {
			return nil, nil, fmt.Errorf("expert %q is no number", id)
		}
		experts = append(experts, int32(n))
	}
	weights := make([]float64, 0, len(experts))
	for value := range strings.SplitSeq(values, "\t") {
		w, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("weight %q is no number", value)
		}
		weights = append(weights, w)
	}
	if len(weights) != len(experts) {
		return nil, nil, fmt.Errorf("%d experts, but %d weights", len(experts), len(weights))
	}
	return experts, weights, nil
}

// ReadRecordDir adds every expert_weights_LAYER.txt of a folder and returns the layers,
// ascending; a folder without any is an error.
func (a *Accumulator) ReadRecordDir(fsys store.FS, dir string) ([]int, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[int]string{}
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), "expert_weights_")
		if middle, ok = strings.CutSuffix(middle, ".txt"); !ok || len(middle) == len(e.Name())-len(".txt") {
			continue
		}
		layer, err := strconv.Atoi(middle)
		if err != nil || layer < 0 || strconv.Itoa(layer) != middle {
			return nil, fmt.Errorf("%s: %q is no layer", filepath.Join(dir, e.Name()), middle)
		}
		files[layer] = filepath.Join(dir, e.Name())
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no expert_weights_LAYER.txt is there", dir)
	}
	layers := slices.Sorted(maps.Keys(files))
	for _, layer := range layers {
		if err := a.readRecordFile(fsys, files[layer], layer); err != nil {
			return nil, fmt.Errorf("%s: %w", files[layer], err)
		}
	}
	return layers, nil
}

func (a *Accumulator) readRecordFile(fsys store.FS, path string, layer int) (err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return a.ReadRecords(layer, f)
}

// Encode writes summary.json: layers in the order of their digits as text (1, 10, 11, …,
// 2, 20, …), experts by number, and Python's spacing.
func (s Scores) Encode() []byte {
	out := append([]byte{}, `{"token_scores": `...)
	out = appendTable(out, s.Token)
	out = append(out, `, "gate_scores": `...)
	return append(appendTable(out, s.Gate), '}')
}

func appendTable(out []byte, t Table) []byte {
	out = append(out, '{')
	for i, layer := range asText(t.Layers()) {
		out = append(appendKey(out, i, layer), '{')
		for e, score := range t[layer] {
			out = appendFloat(appendKey(out, e, e), score)
		}
		out = append(out, '}')
	}
	return append(out, '}')
}

func asText(layers []int) []int {
	slices.SortFunc(layers, func(a, b int) int { return cmp.Compare(strconv.Itoa(a), strconv.Itoa(b)) })
	return layers
}

func appendKey(out []byte, i, key int) []byte {
	if i > 0 {
		out = append(out, ", "...)
	}
	return fmt.Appendf(out, `"%d": `, key)
}

// appendFloat writes a number of at most 4 decimals as Python's repr does: whole numbers
// keep a decimal.
func appendFloat(out []byte, v float64) []byte {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return append(out, text...)
}

// ParseScores reads summary.json. Every layer must list the experts 0 to n-1 with finite
// scores, and both tables the same layers with the same n.
func ParseScores(data []byte) (Scores, error) {
	var raw struct {
		Token map[string]map[string]float64 `json:"token_scores"`
		Gate  map[string]map[string]float64 `json:"gate_scores"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Scores{}, err
	}
	token, err := parseTable(raw.Token)
	if err != nil {
		return Scores{}, fmt.Errorf("token_scores: %w", err)
	}
	gate, err := parseTable(raw.Gate)
	if err != nil {
		return Scores{}, fmt.Errorf("gate_scores: %w", err)
	}
	same := func(a, b []float64) bool { return len(a) == len(b) }
	if !maps.EqualFunc(token, gate, same) {
		return Scores{}, errors.New("token_scores and gate_scores list different layers or experts")
	}
	return Scores{Token: token, Gate: gate}, nil
}

func parseTable(raw map[string]map[string]float64) (Table, error) {
	t := Table{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		layer, err := parseIndex(key)
		if err != nil {
			return nil, fmt.Errorf("layer %w", err)
		}
		row := make([]float64, len(raw[key]))
		for id, score := range raw[key] {
			e, err := parseIndex(id)
			if err != nil || e >= len(row) {
				return nil, fmt.Errorf("layer %d: expert %q of %d", layer, id, len(row))
			}
			row[e] = score
		}
		t[layer] = row
	}
	return t, nil
}

func parseIndex(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%q is no number", text)
	}
	return n, nil
}

// Encode writes an expert configuration as published, layers in the order of their digits
// as text.
func (c *Config) Encode() []byte {
	out := append([]byte{}, `{"experts": {`...)
	for i, layer := range asText(c.Layers()) {
		out = append(appendKey(out, i, layer), '[')
		for j, e := range c.Experts[layer] {
			if j > 0 {
				out = append(out, ", "...)
			}
			out = strconv.AppendInt(out, int64(e), 10)
		}
		out = append(out, ']')
	}
	return fmt.Appendf(out, `}, "shared_experts": %t, "non_expert_modules": %t}`,
		c.SharedExperts, c.NonExpertModules)
}

// ParseConfig reads an expert configuration. An expert twice in a layer is an error.
func ParseConfig(data []byte) (*Config, error) {
	var raw struct {
		Experts          map[string][]int `json:"experts"`
		SharedExperts    bool             `json:"shared_experts"`
		NonExpertModules bool             `json:"non_expert_modules"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	if len(raw.Experts) == 0 {
		return nil, errors.New("no layer has experts")
	}
	c := &Config{SharedExperts: raw.SharedExperts, NonExpertModules: raw.NonExpertModules}
	c.Experts = make(map[int][]int, len(raw.Experts))
	for _, key := range slices.Sorted(maps.Keys(raw.Experts)) {
		layer, err := parseIndex(key)
		if err != nil {
			return nil, fmt.Errorf("layer %w", err)
		}
		seen := map[int]bool{}
		for _, e := range raw.Experts[key] {
			if e < 0 || seen[e] {
				return nil, fmt.Errorf("layer %d: expert %d is negative or occurs twice", layer, e)
			}
			seen[e] = true
		}
		c.Experts[layer] = raw.Experts[key]
	}
	return c, nil
}
