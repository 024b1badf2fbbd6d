package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"bzdata/pipeline/store"
)

// GroupConfig is an expert group's config.yaml. Fields left at zero are not written.
type GroupConfig struct {
	GroupID         int       `yaml:"group_id"`
	ExpertGroupName string    `yaml:"expert_group_name"`
	Data            GroupData `yaml:"data"`
}

// GroupData says which data a network trains and scores a group on: one data set, or a
// weighted list.
type GroupData struct {
	DatasetName             string          `yaml:"dataset_name"`
	DataDir                 string          `yaml:"data_dir"`
	DatasetSources          []DatasetSource `yaml:"dataset_sources"`
	BatchSize               int             `yaml:"batch_size"`
	PerDeviceTrainBatchSize int             `yaml:"per_device_train_batch_size"`
	SequenceLength          int             `yaml:"sequence_length"` // tokens
	WorldSize               int             `yaml:"world_size"`      // shares into which rows are divided
	Rank                    int             `yaml:"rank"`            // the share taken
	DatasetClass            string          `yaml:"dataset_class"`
	ValiFraction            float64         `yaml:"vali_fraction"`
}

// DatasetSource is one of several weighted data sets.
type DatasetSource struct {
	Path              string  `yaml:"path"`
	Name              string  `yaml:"name"`
	Weight            float64 `yaml:"weight"`
	TextColumn        string  `yaml:"text_column"`
	TextTemplate      string  `yaml:"text_template"`
	Split             string  `yaml:"split"`
	DataDir           string  `yaml:"data_dir"`
	Revision          string  `yaml:"revision"`
	EvalShardRows     int     `yaml:"eval_shard_rows"`
	EvalMaxOffsetRows int     `yaml:"eval_max_offset_rows"`
}

func parseGroupConfig(data []byte) (GroupConfig, error) {
	var c GroupConfig
	if _, err := parseGroupYAML(data); err != nil {
		return c, err
	}
	if err := store.UnmarshalYAMLLoose(data, &c); err != nil {
		return c, err
	}
	var id struct {
		GroupID *int `yaml:"group_id"`
	}
	if err := store.UnmarshalYAMLLoose(data, &id); err != nil {
		return c, err
	}
	if id.GroupID == nil || *id.GroupID < 0 {
		return c, errors.New("group_id must be a number from 0")
	}
	return c, c.Data.check()
}

// groupYAMLBytesMax bounds a config.yaml: the YAML scanner allocates up to 240 times what it reads,
// which is then 15 MiB at most.
const groupYAMLBytesMax = 64 << 10

// parseGroupYAML reads a config.yaml as a tree; what it refuses are also anchors, which could
// multiply what the text holds.
func parseGroupYAML(data []byte) (*store.YAMLNode, error) {
	if len(data) > groupYAMLBytesMax {
		return nil, fmt.Errorf("has %d bytes; a group's configuration has at most %d", len(data), groupYAMLBytesMax)
	}
	root, problems := store.ParseYAML(data)
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return root, nil
}

func (d GroupData) check() error {
	for i, s := range d.DatasetSources {
		if s.Path == "" || !(s.Weight >= 0) || math.IsInf(s.Weight, 0) {
			return fmt.Errorf("data.dataset_sources[%d] needs a path and a weight that is a number of 0 or more", i)
		}
	}
	if !(d.ValiFraction >= 0 && d.ValiFraction <= 1) {
		return fmt.Errorf("data.vali_fraction: %g is no share", d.ValiFraction)
	}
	return nil
}

// Encode writes config.yaml.
func (c GroupConfig) Encode() []byte {
	w := &yamlWriter{}
	w.out = fmt.Appendf(w.out, "group_id: %d\n", c.GroupID)
	w.text("", "expert_group_name", c.ExpertGroupName)
	w.out = append(w.out, "data:\n"...)
	d := c.Data
	w.text("  ", "dataset_name", d.DatasetName)
	w.text("  ", "data_dir", d.DataDir)
	if len(d.DatasetSources) > 0 {
		w.out = append(w.out, "  dataset_sources:\n"...)
	}
	for _, s := range d.DatasetSources {
		w.out = append(append(w.out, "    - path: "...), appendQuoted(nil, s.Path)...)
		w.out = append(w.out, '\n')
		w.text("      ", "name", s.Name)
		w.number("      ", "weight", s.Weight)
		w.text("      ", "text_column", s.TextColumn)
		w.text("      ", "text_template", s.TextTemplate)
		w.text("      ", "split", s.Split)
		w.text("      ", "data_dir", s.DataDir)
		w.text("      ", "revision", s.Revision)
		w.whole("      ", "eval_shard_rows", s.EvalShardRows)
		w.whole("      ", "eval_max_offset_rows", s.EvalMaxOffsetRows)
	}
	w.whole("  ", "batch_size", d.BatchSize)
	w.whole("  ", "per_device_train_batch_size", d.PerDeviceTrainBatchSize)
	w.whole("  ", "sequence_length", d.SequenceLength)
	if d.WorldSize > 0 {
		w.number("  ", "world_size", float64(d.WorldSize))
		w.out = fmt.Appendf(w.out, "  rank: %d\n", d.Rank)
	}
	w.text("  ", "dataset_class", d.DatasetClass)
	w.number("  ", "vali_fraction", d.ValiFraction)
	return w.out
}

// yamlWriter writes keys whose value is not zero. Strings are quoted as in JSON, which
// YAML 1.2 reads the same.
type yamlWriter struct{ out []byte }

func (w *yamlWriter) text(indent, key, value string) {
	if value != "" {
		w.out = append(appendQuoted(append(w.out, indent+key+": "...), value), '\n')
	}
}

func (w *yamlWriter) whole(indent, key string, value int) {
	if value != 0 {
		w.out = append(strconv.AppendInt(append(w.out, indent+key+": "...), int64(value), 10), '\n')
	}
}

// number writes a float so that YAML 1.1, which the networks read, takes it for one: with a point,
// also before an exponent.
func (w *yamlWriter) number(indent, key string, value float64) {
	if value == 0 {
		return
	}
	text := pyRepr(value)
	if !strings.Contains(text, ".") {
		text = strings.Replace(text, "e", ".0e", 1)
	}
	w.out = append(append(w.out, indent+key+": "+text...), '\n')
}
