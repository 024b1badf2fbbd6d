package stages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
)

// MixOptions say of which rows a validator's exam is made.
type MixOptions struct {
	// SourcesFrom is an expert group's config.yaml, whose data sets and weights count; empty for a network whose
	// profile names them.
	SourcesFrom    string
	Mirror         string // folder with the files of each data set in PATH/NAME or PATH below it
	Rows           int    // of each seed, at most
	Seeds          int    // number of combined seeds, derived from First
	First          uint64
	SequenceLength int // tokens; 0 is the profile's
	// OnRow, if not nil, is called after each row, with those of all seeds.
	OnRow func(done, total int)

	sources *mixSources // in place of those that the mirror has, while it is filled
}

// MixExam is an exam of the rows that validators of some seeds would read, each once however many seeds have it.
type MixExam struct {
	Exam
	Seeds []string // combined
	First uint64   // which the first of them is made of, the second of First + 1, and so on
	// Pages says that the sequences are packed pages, of which each is judged as a whole: see [MixExam.Whole].
	Pages bool
	// BySeed has the sequences of each seed, in the order in which its validator reads them.
	BySeed [][]int
	// Rows counts the rows of all seeds, with those that several have as often as they have them.
	Rows int
	// Dropped counts rows by the profile's rule that leaves them out.
	Dropped map[string]int
	// Short says, for each seed that has fewer rows than were asked for, how many and why.
	Short []string
	// Mix says of which data sets, by which weights.
	Mix []MixSource
}

// MixSource is a data set of a mix.
type MixSource struct {
	Label  string  `json:"source"`
	Weight float64 `json:"weight"`
	Files  int     `json:"files"`     // of the data set, or pages that the seeds read of it
	There  int     `json:"mirrored"`  // of them
	Rows   int     `json:"rows_read"` // judged, of all seeds, each once; of pages, sequences
	// Own says that text which somebody has put into the mirror stands in place of the data set's.
	Own bool `json:"own_text,omitempty"`
}

// mixSources are the data sets of a mix, and their files.
type mixSources struct {
	of []mirror.Weighted
	// files are those of each data set in the order in which they are read, "" for one that the mirror lacks;
	// names are theirs for people.
	files, names [][]string
}

// OpenMix reads the rows and tokenizes them with the base's tokenizer.
func OpenMix(ctx context.Context, fsys store.FS, p *network.Profile, base string, o MixOptions) (*MixExam, error) {
	if p.Evaluate.Paged() {
		return openPages(ctx, fsys, p, base, o)
	}
	m, err := newMixMaker(fsys, p, o)
	if err != nil {
		return nil, err
	}
	if m.tok, err = tokenize.Load(fsys, filepath.Join(base, "tokenizer.json")); err != nil {
		return nil, err
	}
	m.pack = examPacking(p, m.tok, m.options.SequenceLength)
	exam, err := m.make(ctx)
	if err != nil {
		return nil, err
	}
	if len(m.docs) == 0 {
		return nil, &pipeline.DataError{Msg: "no row of the mirror is for a validator's exam; mirror more files"}
	}
	exam.Data, exam.close = m.docs, func() {}
	return exam, nil
}

// ChooseMix goes through the rows that validators would read without tokenizing them, and has each file that it
// comes to fetched first. What it returns has no sequences.
func ChooseMix(
	ctx context.Context, fsys store.FS, p *network.Profile, o MixOptions, fetch func(source, file int) (name string, err error),
) (*MixExam, error) {
	m, err := newMixMaker(fsys, p, o)
	if err != nil {
		return nil, err
	}
	m.fetch = fetch
	return m.make(ctx)
}

// newMixMaker finds the files of a mix.
func newMixMaker(fsys store.FS, p *network.Profile, o MixOptions) (*mixMaker, error) {
	if err := mixable(p, o.SourcesFrom); err != nil {
		return nil, err
	}
	config, err := checkpoint.ReadGroupConfig(fsys, o.SourcesFrom)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", o.SourcesFrom, err), Err: err}
	}
	sources := o.sources
	if sources == nil {
		if sources, err = findSources(fsys, o.SourcesFrom, config.Data, o.Mirror); err != nil {
			return nil, err
		}
	}
	if o.SequenceLength == 0 {
		o.SequenceLength = p.Tokenize.SequenceLength
	}
	m := &mixMaker{fsys: fsys, profile: p, options: o, sources: sources, at: map[mixPlace]int{},
		exam: &MixExam{First: o.First, Dropped: map[string]int{}}, hash: sha256.New(), lacks: map[string]bool{}}
	m.mix = network.Mix{Fraction: orElse(config.Data.ValiFraction, p.Evaluate.SelectionFraction),
		WorldSize: orElse(config.Data.WorldSize, max(1, p.Evaluate.WorldSize))}
	for i, of := range sources.of {
		m.mix.Weights, m.mix.Files = append(m.mix.Weights, of.Weight), append(m.mix.Files, len(sources.files[i]))
		m.exam.Sources = append(m.exam.Sources, of.Label)
		m.exam.Mix = append(m.exam.Mix, MixSource{Label: of.Label, Weight: of.Weight, Files: len(sources.files[i]),
			There: sources.there(i)})
	}
	if _, err := network.Interleave(0, m.mix.Weights); err != nil && len(m.mix.Weights) > 1 {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", o.SourcesFrom, err), Err: err}
	}
	return m, nil
}

// mixable says why a network's rows cannot be imitated.
func mixable(p *network.Profile, sourcesFrom string) error {
	switch {
	case p.Tokenize.Packing != string(tokenize.PackTruncatePad):
		return &pipeline.UsageError{Msg: fmt.Sprintf("%s packs what it reads (%s), and its evaluate.sources have no "+
			"pages: which rows they are is not known; state pages, or leave evaluate out and judge on held-out text of your own",
			p.Name, p.Tokenize.Packing)}
	case sourcesFrom == "":
		return noSources(p)
	}
	return nil
}

// noSources says that nobody names the data sets.
func noSources(p *network.Profile) error {
	return &pipeline.UsageError{Msg: p.Name + " names no data sets of its validators; set sources_from, the expert " +
		"group's config.yaml"}
}

// examPacking is how a profile's validators make sequences. They find special tokens that a text spells out, since
// Hugging Face tokenizers do.
func examPacking(p *network.Profile, tok *tokenize.Tokenizer, length int) tokenize.PackOptions {
	t := p.Tokenize
	o := Tokenize{SequenceLength: length, Packing: t.Packing, SpecialTokens: t.SpecialTokens,
		LongDocuments: t.LongDocuments}.options(tok)
	o.FindSpecial = true
	return o
}

// orElse is the first value that is not 0.
func orElse[T int | float64](value, otherwise T) T {
	if value != 0 {
		return value
	}
	return otherwise
}

// findSources finds the files of a group's data sets in the mirror.
func findSources(fsys store.FS, config string, data checkpoint.GroupData, dir string) (*mixSources, error) {
	sets, err := mirror.SourcesOf(data)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", config, err), Err: err}
	}
	manifest, err := mirror.Read(fsys, dir)
	if err != nil {
		return nil, &pipeline.DataError{Msg: err.Error()}
	}
	out := &mixSources{of: sets}
	for _, s := range sets {
		files, names, err := manifest.FilesOf(fsys, dir, s.Source)
		if err != nil {
			return nil, &pipeline.UsageError{Msg: err.Error(), Err: err}
		}
		out.files, out.names = append(out.files, files), append(out.names, names)
	}
	return out, nil
}

// there counts the files of a source that the mirror has.
func (s *mixSources) there(source int) int {
	n := 0
	for _, f := range s.files[source] {
		if f != "" {
			n++
		}
	}
	return n
}

// mixPlace is where a row stands.
type mixPlace struct {
	source, file int
	row          int64
}

// mixText is a row of text.
type mixText struct {
	mixPlace
	text string
}

// mixDocs are sequences in memory.
type mixDocs []tokenize.Sequence

// Sequences implements [eval.Data].
func (d mixDocs) Sequences() int { return len(d) }

// Sequence implements [eval.Data].
func (d mixDocs) Sequence(i int, dst *tokenize.Sequence) error {
	s := d[i]
	dst.Tokens, dst.Target = append(dst.Tokens[:0], s.Tokens...), append(dst.Target[:0], s.Target...)
	dst.Segments = append(dst.Segments[:0], s.Segments...)
	return nil
}

// mixMaker makes a MixExam.
type mixMaker struct {
	fsys    store.FS
	profile *network.Profile
	options MixOptions
	sources *mixSources
	mix     network.Mix
	fetch   func(source, file int) (name string, err error) // makes a file be there, or nil
	tok     *tokenize.Tokenizer                             // nil to choose only
	pack    tokenize.PackOptions
	at      map[mixPlace]int // the sequence of a row, −1 for one without target
	docs    mixDocs
	exam    *MixExam
	hash    hash.Hash
	err     error           // of reading
	lacks   map[string]bool // files that the mirror lacks, which rows of the seed at hand would be in
}

func (m *mixMaker) make(ctx context.Context) (*MixExam, error) {
	for i := range m.options.Seeds {
		seed := network.CombinedSeed(map[string]uint64{"": m.options.First + uint64(i)})
		m.exam.Seeds = append(m.exam.Seeds, seed)
		if err := m.seed(ctx, seed); err != nil {
			return nil, err
		}
	}
	m.exam.Key = hex.EncodeToString(m.hash.Sum(nil)[:16])
	return m.exam, nil
}

// seed adds the rows of one seed.
func (m *mixMaker) seed(ctx context.Context, seed string) error {
	mix := m.mix
	mix.Seed = seed
	var readers []iter.Seq[mixText]
	for i := range m.sources.files {
		readers = append(readers, m.rows(mix, i))
	}
	rows, err := network.MixRows(mix, readers)
	if err != nil {
		return &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", m.options.SourcesFrom, err), Err: err}
	}
	var own []int
	seen, taken := map[string]bool{}, 0
	clear(m.lacks)
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if why := heldOutRow(m.profile.HeldOut, seen, row.text); why != "" {
			m.exam.Dropped[why]++
			continue
		}
		at, err := m.add(row)
		if err != nil {
			return err
		}
		if taken++; at >= 0 {
			own = append(own, at)
		}
		if m.options.OnRow != nil {
			m.options.OnRow(len(m.exam.BySeed)*m.options.Rows+taken, m.options.Seeds*m.options.Rows)
		}
		if taken == m.options.Rows {
			break
		}
	}
	if taken < m.options.Rows {
		m.exam.Short = append(m.exam.Short, m.short(taken))
	}
	m.exam.BySeed, m.exam.Rows = append(m.exam.BySeed, own), m.exam.Rows+len(own)
	return m.err
}

// short says why the seed at hand has fewer rows than were asked for.
func (m *mixMaker) short(taken int) string {
	out := fmt.Sprintf("seed %d has %d of %d rows: ", len(m.exam.Seeds), taken, m.options.Rows)
	if len(m.lacks) == 0 {
		return out + "a data set of the mix ends there"
	}
	return out + "the mirror lacks " + strings.Join(slices.Sorted(maps.Keys(m.lacks)), " and ")
}

// rows reads the node's rows of a source; m.err says what ended it early.
func (m *mixMaker) rows(mix network.Mix, source int) iter.Seq[mixText] {
	return func(yield func(mixText) bool) {
		for _, file := range mix.NodeFiles(source) {
			name, err := m.place(source, file)
			if err == nil && name == "" {
				m.lacks[m.sources.of[source].Label+" "+m.sources.names[source][file]] = true
				return
			}
			goOn := false
			if err == nil {
				goOn, err = m.file(mixPlace{source: source, file: file}, name, yield)
			}
			if err != nil || !goOn {
				m.err = errors.Join(m.err, err)
				return
			}
		}
	}
}

// place is where a file is, or "" if it is not to be had.
func (m *mixMaker) place(source, file int) (string, error) {
	if m.fetch != nil {
		return m.fetch(source, file)
	}
	return m.sources.files[source][file], nil
}

func (m *mixMaker) file(at mixPlace, name string, yield func(mixText) bool) (goOn bool, err error) {
	column := m.sources.of[at.source].Column
	rows, err := store.OpenRows(m.fsys, name, store.RowOptions{Columns: []string{column}})
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var row store.Row
	for ; ; at.row++ {
		switch err := rows.Next(&row); {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case row.Bad != nil:
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %v", name, row.Number, row.Bad)}
		}
		field := slices.IndexFunc(row.Fields, func(f store.Field) bool { return f.Key == column })
		if field < 0 {
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d has no field %q; check the group's text_column", name,
				row.Number, column)}
		}
		text, err := store.Unquote(nil, row.Fields[field].Value)
		if err != nil {
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %s is no text", name, row.Number, column)}
		}
		if !yield(mixText{at, string(text)}) {
			return false, nil
		}
	}
}

// add tokenizes a row unless it is there, and returns its sequence.
func (m *mixMaker) add(row mixText) (int, error) {
	if at, ok := m.at[row.mixPlace]; ok {
		return at, nil
	}
	info := tokenize.DocumentInfo{Ordinal: uint64(len(m.at)), Source: uint32(row.source), ID: fmt.Sprintf("%s:%s:%d",
		m.sources.of[row.source].Label, m.sources.names[row.source][row.file], row.row)}
	m.exam.Mix[row.source].Rows++
	fmt.Fprintf(m.hash, "%d %d:%s", row.source, len(row.text), row.text)
	at, err := len(m.at), error(nil)
	if m.tok != nil {
		at, err = m.sequence(info, row.text)
	}
	m.at[row.mixPlace] = at
	return at, err
}

// sequence makes a row's sequence, −1 for one without target.
func (m *mixMaker) sequence(info tokenize.DocumentInfo, text string) (at int, err error) {
	doc, err := m.pack.Prepare(m.tok, info, text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", info.ID, err)
	}
	at = -1
	packer, err := tokenize.NewPacker(m.pack, func(s *tokenize.Sequence) error {
		at = len(m.docs)
		m.docs = append(m.docs, tokenize.Sequence{Tokens: slices.Clone(s.Tokens), Target: slices.Clone(s.Target),
			Segments: slices.Clone(s.Segments)})
		return nil
	})
	if err == nil {
		err = packer.Add(doc)
	}
	if err == nil {
		_, err = packer.Close()
	}
	return at, err
}
