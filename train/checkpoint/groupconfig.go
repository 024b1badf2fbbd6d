package checkpoint

import (
	"errors"
	"fmt"
	"strconv"

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
	Revision          string  `yaml:"revision"`
	EvalShardRows     int     `yaml:"eval_shard_rows"`
	EvalMaxOffsetRows int     `yaml:"eval_max_offset_rows"`
}

func parseGroupConfig(data []byte) (GroupConfig, error) {
	var c GroupConfig
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
	for i, s := range c.Data.DatasetSources {
		if s.Path == "" || s.Weight < 0 {
			return c, fmt.Errorf("data.dataset_sources[%d] needs a path and a weight that is not negative", i)
		}
	}
	return c, nil
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
		w.text("      ", "revision", s.Revision)
		w.number("      ", "eval_shard_rows", float64(s.EvalShardRows))
		w.number("      ", "eval_max_offset_rows", float64(s.EvalMaxOffsetRows))
	}
	w.number("  ", "batch_size", float64(d.BatchSize))
	w.number("  ", "per_device_train_batch_size", float64(d.PerDeviceTrainBatchSize))
	w.number("  ", "sequence_length", float64(d.SequenceLength))
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

func (w *yamlWriter) number(indent, key string, value float64) {
	if value != 0 {
		w.out = append(strconv.AppendFloat(append(w.out, indent+key+": "...), value, 'g', -1, 64), '\n')
	}
}
