package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/model"
)

// ValidatorRows is the configuration of the validator_rows stage, which the plan's section evaluate describes.
type ValidatorRows struct{}

func validatorRowsSpec() pipeline.Spec[ValidatorRows] {
	return pipeline.Spec[ValidatorRows]{
		Name: "validator_rows", Version: 2,
		Summary: "Picks and tokenizes the rows by which a network's validators would judge.",
		Doc: code(`
A plan with the section ‹evaluate› and a ‹proof_of_loss› gets this stage before its training. It reads the data
sets of the group's config.yaml from the mirror, interleaves them by their weights, selects rows by each of
the seeds, shares them among nodes, leaves rows out by the profile's own rules, all as the network's
validators do it, and tokenizes each row once with the base model's tokenizer. ‹proof_of_loss› judges by the
result. It depends on the mirror's files, config.yaml, profile and tokenizer, not on the base's weights or the training
text: so that it can be made before a network's window, by ‹bzdata run PLAN --until validator_rows›, and is there
for every cycle in the same work directory. A cycle that finds none, or one of other files, makes it anew, and says so.

Validators of Subnet 9 draw pages of 50 rows by the seed, from each of the profile's data sets. Their documents are
joined, an EOS behind each, cut into sequences, shuffled by the seed, and the first ones of each data set judge,
whose mean losses are weighed by the profile. ‹evaluate.sources_from› is left out then, and ‹evaluate.rows› has no
meaning. The text of one of the data sets is not at the hub: files of JSONL or Parquet in the mirror's folder
PATH/NAME stand in its place, as for any of them, and pages are drawn among their rows. A data set that the mirror
lacks is left out by name, and the weights of the others are scaled up.`),
		Example: `
validator_rows: {}`,
		Makes: []pipeline.Data{pipeline.ValidatorRows},
		New:   func(c ValidatorRows) (pipeline.Program, error) { return c.program(), nil },
	}
}

func (c ValidatorRows) program() pipeline.Program {
	return pipeline.Program{Reads: c.reads, Run: c.run, SkipsDocuments: true}
}

// reads are what the rows depend on.
func (c ValidatorRows) reads(p *pipeline.Plan) []pipeline.Read {
	e := p.Evaluate
	if e == nil {
		return nil // a mistake, which Complete reports
	}
	find := func(fsys store.FS, dir string) ([]string, []string, error) { return c.find(p, fsys, dir) }
	sources := pipeline.Read{Name: "sources",
		Value: fmt.Sprintf("%d rows, %d seeds from %d, %d tokens", e.Rows, e.Seeds, p.Seed, e.SequenceLength)}
	if e.SourcesFrom != "" {
		sources.Paths = []string{string(e.SourcesFrom)}
	}
	return []pipeline.Read{readTokenizer(p), readProfile(p), sources,
		{Name: "mirror", Paths: []string{string(e.Mirror)}, Find: find}}
}

// find lists the files of the mirror and its manifest, and says what will be judged.
func (c ValidatorRows) find(p *pipeline.Plan, fsys store.FS, dir string) (files, remarks []string, err error) {
	profile, err := network.Find(fsys, p.Dir(), p.Network.Profile)
	if err != nil {
		return nil, nil, &pipeline.UsageError{Msg: err.Error(), Err: err}
	}
	base, err := model.ReadConfig(fsys, p.Path(string(p.Network.Base.Model)))
	if longest := base.MaxPositionEmbeddings; err == nil && longest > 0 && p.Evaluate.SequenceLength > longest {
		return nil, nil, &pipeline.UsageError{Msg: fmt.Sprintf("evaluate: rows of %d tokens are longer than the base model's "+
			"max_position_embeddings %d; set evaluate.sequence_length", p.Evaluate.SequenceLength, longest)}
	}
	if profile.Evaluate.Paged() {
		return findPages(p, fsys, profile)
	}
	m, err := newMixMaker(fsys, profile, MixOptionsOf(p))
	if err != nil {
		return nil, nil, fmt.Errorf("evaluate: %w", err)
	}
	if manifest := filepath.Join(dir, mirror.ManifestName); store.Exists(fsys, manifest) {
		files = append(files, manifest)
	}
	for _, of := range m.sources.files {
		for _, name := range of {
			if name != "" {
				files = append(files, name)
			}
		}
	}
	return files, []string{m.outlook(p.Seed)}, nil
}

// findPages lists the pages of the mirror, and says what will be judged.
func findPages(p *pipeline.Plan, fsys store.FS, profile *network.Profile) (files, remarks []string, err error) {
	m, err := newPageMaker(fsys, profile, MixOptionsOf(p))
	if err != nil {
		return nil, nil, fmt.Errorf("evaluate: %w", err)
	}
	return m.files, append([]string{m.outlook(p.Seed)}, m.exam.Short...), nil
}

// outlook is one line about the sequences to come.
func (m *pageMaker) outlook(first uint64) string {
	var sources []string
	for _, s := range m.exam.Mix {
		of := ""
		if s.Own {
			of = " of own text"
		}
		sources = append(sources, fmt.Sprintf("%s %g (%d of %d pages%s in the mirror)", s.Label, s.Weight, s.There, s.Files, of))
	}
	return fmt.Sprintf("judges by up to %d packed sequences of %d tokens of each data set for each of %d seeds from %d, as "+
		"validators of %s read them: %s", m.profile.Evaluate.BatchesMax, m.options.SequenceLength, m.options.Seeds, first,
		m.profile.Name,
		strings.Join(sources, ", "))
}

// outlook is one line about the rows to come.
func (m *mixMaker) outlook(first uint64) string {
	var sources []string
	for _, s := range m.exam.Mix {
		sources = append(sources, fmt.Sprintf("%s %g (%d of %d files in the mirror)", s.Label, s.Weight, s.There, s.Files))
	}
	return fmt.Sprintf("judges by up to %d rows of %d tokens for each of %d seeds from %d, as validators of %s read them: %s",
		m.options.Rows, m.options.SequenceLength, m.options.Seeds, first, m.profile.Name, strings.Join(sources, ", "))
}

// MixOptionsOf are the options that a plan's section evaluate stands for.
func MixOptionsOf(p *pipeline.Plan) MixOptions {
	e := p.Evaluate
	o := MixOptions{Mirror: p.Path(string(e.Mirror)), Rows: e.Rows, Seeds: e.Seeds, First: p.Seed,
		SequenceLength: e.SequenceLength}
	if e.SourcesFrom != "" {
		o.SourcesFrom = p.Path(string(e.SourcesFrom))
	}
	return o
}

// completeEvaluate adds the stage that makes the exam, right before the training, whose window has to leave
// time for it.
func completeEvaluate(p *pipeline.Plan) {
	at, before := -1, -1
	for i, s := range p.Stages {
		switch s.Kind.Name {
		case "validator_rows":
			if at = i; p.Evaluate == nil {
				p.Mistake(i, "the plan does not say whose rows; add the section evaluate, or remove it")
			}
		case "train":
			before = i
		case "proof_of_loss":
			if before < 0 {
				before = i
			}
			if p.Evaluate != nil && at < 0 {
				p.Insert(before-1, validatorRowsSpec().Kind(), "{}")
				return
			}
		}
	}
}

// rowsName describes the folder rows of validator_rows.
const rowsName = "rows.json"

// rowsMeta is rows.json.
type rowsMeta struct {
	DataKey string         `json:"data_key"`
	First   uint64         `json:"first_seed"`
	Seeds   []string       `json:"combined_seeds"`
	BySeed  [][]int        `json:"sequences_of_seed"`
	Rows    int            `json:"rows"`
	LeftOut map[string]int `json:"left_out"`
	Short   []string       `json:"short,omitempty"`
	Mix     []MixSource    `json:"mix"`
	Files   []string       `json:"files"`           // of shards
	Pages   bool           `json:"pages,omitempty"` // see [MixExam]
	// Sequences is their number.
	Sequences int `json:"sequences"`
}

func (c ValidatorRows) run(ctx context.Context, t *pipeline.Task) error {
	profile, err := profileOf(t)
	if err != nil {
		return err
	}
	if profile == nil || t.Plan.Evaluate == nil {
		return errors.New("the plan has no network.profile or no section evaluate")
	}
	opts := MixOptionsOf(t.Plan)
	opts.OnRow = func(done, total int) { t.Progress(float64(done), float64(total), "rows") }
	exam, err := OpenMix(ctx, t.Inputs, profile, t.Plan.Path(string(t.Plan.Network.Base.Model)), opts)
	if err != nil {
		return err
	}
	defer exam.Close()
	meta := rowsMeta{DataKey: exam.Key, First: exam.First, Seeds: exam.Seeds, BySeed: exam.BySeed, Rows: exam.Rows,
		LeftOut: exam.Dropped, Short: exam.Short, Mix: exam.Mix, Pages: exam.Pages, Sequences: exam.Sequences()}
	if meta.Files, err = c.write(t, profile, exam); err != nil {
		return err
	}
	c.report(t, exam)
	return t.WriteFile("rows/"+rowsName, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(meta)
	})
}

// write writes the sequences as token shards.
func (c ValidatorRows) write(t *pipeline.Task, p *network.Profile, exam *MixExam) (files []string, err error) {
	tok, err := tokenize.Load(t.Inputs, t.Files("tokenizer")[0])
	if err != nil {
		return nil, err
	}
	meta, err := tok.ShardMeta(examPacking(p, tok, t.Plan.Evaluate.SequenceLength))
	if err != nil {
		return nil, err
	}
	meta.DataKey, meta.Sources = exam.Key, exam.Sources
	shard, err := tokenize.NewShardWriter(meta)
	if err != nil {
		return nil, err
	}
	flush := func() error {
		name := fmt.Sprintf("rows-%05d.tokens", len(files))
		files = append(files, name)
		err := t.WriteFile("rows/"+name, func(w io.Writer) error { _, err := shard.WriteTo(w); return err })
		shard.Reset()
		return err
	}
	var s tokenize.Sequence
	for i := range exam.Sequences() {
		if err := exam.Sequence(i, &s); err != nil {
			return nil, err
		}
		if err := shard.Add(&s); err != nil {
			return nil, err
		}
		if shard.Size() >= shardBytesMax || i == exam.Sequences()-1 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func (c ValidatorRows) report(t *pipeline.Task, exam *MixExam) {
	table := &pipeline.Table{Columns: []string{"data set", "weight", "rows", "files mirrored", "files"}}
	note := "Rows of all seeds, each once. What a validator reads is a prefix of it, as long as the network's loop goes."
	if exam.Pages {
		table.Columns = []string{"data set", "weight", "sequences", "pages mirrored", "pages"}
		note = "Packed sequences of all seeds, as many of each data set as a validator takes. Weights are those of the mean " +
			"loss; those of data sets without a sequence are shared out among the others."
	}
	for _, s := range exam.Mix {
		table.Rows = append(table.Rows, []string{s.Label, fmt.Sprintf("%g", s.Weight), fmt.Sprint(s.Rows), fmt.Sprint(s.There),
			fmt.Sprint(s.Files)})
	}
	t.Panel(pipeline.Panel{Title: "Rows that validators would read", Table: table, Note: note})
	if exam.Pages {
		t.Figure("validators' rows", "%d packed sequences of the pages of %d seeds", exam.Sequences(), len(exam.Seeds))
	} else {
		t.Figure("validators' rows", "%d rows of %d seeds, %d distinct; %d left out by the profile's rules", exam.Rows,
			len(exam.Seeds), exam.Sequences(), sumOf(exam.Dropped))
	}
	t.Value("rows", float64(exam.Rows))
	t.Value("distinct_rows", float64(exam.Sequences()))
	for _, why := range exam.Short {
		t.Note("%s", why)
	}
	if t.Plan.Window != nil {
		t.Note("the rows were picked and tokenized inside the window %q, as there were none of these files, profile, tokenizer "+
			"and seeds; bzdata run PLAN --until %s makes them beforehand", t.Plan.Window.ID, t.Step.Label())
	}
}

func sumOf(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// openRows opens what validator_rows has made.
func openRows(t *pipeline.Task) (*MixExam, error) {
	dir := filepath.Join(t.Input(pipeline.ValidatorRows), "rows")
	raw, err := store.ReadAll(t.FS, filepath.Join(dir, rowsName))
	if err != nil {
		return nil, err
	}
	var meta rowsMeta
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, rowsName), err)
	}
	e := &MixExam{First: meta.First, Seeds: meta.Seeds, BySeed: meta.BySeed, Rows: meta.Rows, Dropped: meta.LeftOut,
		Short: meta.Short, Mix: meta.Mix, Pages: meta.Pages}
	for _, s := range meta.Mix {
		e.Sources = append(e.Sources, s.Label)
	}
	var parts []train.Data
	var open []*tokenize.Shard
	e.Key, e.close = meta.DataKey, func() {
		for _, s := range open {
			s.Close()
		}
	}
	for _, name := range meta.Files {
		s, err := tokenize.OpenShardFile(t.FS, filepath.Join(dir, name))
		if err != nil {
			e.Close()
			return nil, err
		}
		open, parts = append(open, s), append(parts, s)
	}
	e.Data = train.Join(parts...)
	return e, nil
}
