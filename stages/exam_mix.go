package stages

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"path/filepath"
	"slices"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"

	"github.com/zeebo/xxh3"
)

// MixOptions say of which rows a validator's exam is made.
type MixOptions struct {
	SourcesFrom    string // an expert group's config.yaml, whose data sets and weights count
	Mirror         string // folder with the files of each data set in PATH/NAME or PATH below it
	Rows           int    // of each seed, at most
	Seeds          int    // number of combined seeds, derived from First
	First          uint64
	SequenceLength int // tokens; 0 is the profile's
}

// MixExam is an exam of the rows that validators of some seeds would read, each once however many seeds have it.
type MixExam struct {
	Exam
	Seeds []string
	// BySeed has the sequences of each seed, in the order in which its validator reads them.
	BySeed [][]int
	// Rows counts the rows of all seeds, with those that several have as often as they have them.
	Rows int
	// Dropped counts rows by the profile's rule that leaves them out.
	Dropped map[string]int

	docs []tokenize.Sequence
}

// mixSources are the data sets of a mix, and their files.
type mixSources struct {
	names, columns []string
	weights        []float64
	files          [][]string
}

// OpenMix reads the rows and tokenizes them with the base's tokenizer.
func OpenMix(fsys store.FS, p *network.Profile, base string, o MixOptions) (*MixExam, error) {
	if p.Tokenize.Packing != string(tokenize.PackTruncatePad) {
		return nil, &pipeline.UsageError{Msg: p.Name + " does not read rows of files one by one; judge it on tokens"}
	}
	config, err := checkpoint.ReadGroupConfig(fsys, o.SourcesFrom)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: err.Error(), Err: err}
	}
	sources, err := findSources(fsys, config.Data, o.Mirror)
	if err != nil {
		return nil, err
	}
	tok, err := tokenize.Load(fsys, filepath.Join(base, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	if o.SequenceLength == 0 {
		o.SequenceLength = p.Tokenize.SequenceLength
	}
	c := Tokenize{SequenceLength: o.SequenceLength, Packing: p.Tokenize.Packing, SpecialTokens: p.Tokenize.SpecialTokens,
		LongDocuments: p.Tokenize.LongDocuments}
	m := &mixMaker{fsys: fsys, profile: p, options: o, sources: sources, tok: tok, pack: c.options(tok),
		at: map[mixPlace]int{}, exam: &MixExam{Dropped: map[string]int{}}, hash: sha256.New()}
	m.mix = network.Mix{Weights: sources.weights, Fraction: orElse(config.Data.ValiFraction, p.Evaluate.SelectionFraction),
		WorldSize: orElse(config.Data.WorldSize, max(1, p.Evaluate.WorldSize))}
	for _, files := range sources.files {
		m.mix.Files = append(m.mix.Files, len(files))
	}
	return m.make()
}

// orElse is the first value that is not 0.
func orElse[T int | float64](value, otherwise T) T {
	if value != 0 {
		return value
	}
	return otherwise
}

// findSources finds the files of a group's data sets in the mirror.
func findSources(fsys store.FS, data checkpoint.GroupData, mirror string) (*mixSources, error) {
	sets := data.DatasetSources
	if len(sets) == 0 && data.DatasetName != "" {
		sets = []checkpoint.DatasetSource{{Path: data.DatasetName, Name: data.DataDir, Weight: 1}}
	}
	if len(sets) == 0 {
		return nil, &pipeline.UsageError{Msg: "the group's config.yaml names no data set"}
	}
	out := &mixSources{}
	for _, s := range sets {
		if s.TextTemplate != "" {
			return nil, &pipeline.UsageError{Msg: s.Path + " has a text_template, of which the network's form is not known; " +
				"mirror it with a column of text"}
		}
		dir := filepath.Join(mirror, s.Path, s.Name)
		if s.Name != "" && !store.Exists(fsys, dir) {
			dir = filepath.Join(mirror, s.Path)
		}
		_, files, err := store.Expand(fsys, dir)
		if err != nil {
			msg := fmt.Sprintf("%s: no JSONL or Parquet file of %s is there", dir, s.Path)
			return nil, &pipeline.UsageError{Msg: msg, Err: err}
		}
		column := s.TextColumn
		if column == "" {
			column = "text"
		}
		out.names, out.columns = append(out.names, s.Path), append(out.columns, column)
		out.weights, out.files = append(out.weights, s.Weight), append(out.files, files)
	}
	return out, nil
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

// mixMaker makes a MixExam.
type mixMaker struct {
	fsys    store.FS
	profile *network.Profile
	options MixOptions
	sources *mixSources
	mix     network.Mix
	tok     *tokenize.Tokenizer
	pack    tokenize.PackOptions
	at      map[mixPlace]int // the sequence of a row, −1 for one without target
	exam    *MixExam
	hash    hash.Hash
	err     error // of reading
}

func (m *mixMaker) make() (*MixExam, error) {
	for i := range m.options.Seeds {
		seed := network.CombinedSeed(map[string]uint64{"": m.options.First + uint64(i)})
		m.exam.Seeds = append(m.exam.Seeds, seed)
		if err := m.seed(seed); err != nil {
			return nil, err
		}
	}
	e := m.exam
	if len(e.docs) == 0 {
		return nil, &pipeline.DataError{Msg: "no row of the mirror is for a validator's exam; mirror more files"}
	}
	e.Data, e.Sources, e.close = e, m.sources.names, func() {}
	e.Key = hex.EncodeToString(m.hash.Sum(nil)[:16])
	return e, nil
}

// seed adds the rows of one seed.
func (m *mixMaker) seed(seed string) error {
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
	for _, row := range rows {
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
		if taken == m.options.Rows {
			break
		}
	}
	m.exam.BySeed, m.exam.Rows = append(m.exam.BySeed, own), m.exam.Rows+len(own)
	return m.err
}

// rows reads the node's rows of a source; m.err says what ended it early.
func (m *mixMaker) rows(mix network.Mix, source int) iter.Seq[mixText] {
	return func(yield func(mixText) bool) {
		for _, file := range mix.NodeFiles(source) {
			if goOn, err := m.file(source, file, yield); err != nil || !goOn {
				m.err = errors.Join(m.err, err)
				return
			}
		}
	}
}

func (m *mixMaker) file(source, file int, yield func(mixText) bool) (goOn bool, err error) {
	name, column := m.sources.files[source][file], m.sources.columns[source]
	rows, err := store.OpenRows(m.fsys, name, store.RowOptions{Columns: []string{column}})
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var row store.Row
	for n := int64(0); ; n++ {
		switch err := rows.Next(&row); {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case row.Bad != nil:
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %v", name, row.Number, row.Bad)}
		}
		at := slices.IndexFunc(row.Fields, func(f store.Field) bool { return f.Key == column })
		if at < 0 {
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d has no field %q; check the group's text_column", name,
				row.Number, column)}
		}
		text, err := store.Unquote(nil, row.Fields[at].Value)
		if err != nil {
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %s is no text", name, row.Number, column)}
		}
		if !yield(mixText{mixPlace{source, file, n}, string(text)}) {
			return false, nil
		}
	}
}

// add tokenizes a row unless it is there, and returns its sequence.
func (m *mixMaker) add(row mixText) (int, error) {
	if at, ok := m.at[row.mixPlace]; ok {
		return at, nil
	}
	id := fmt.Sprintf("%s:%d", m.sources.files[row.source][row.file], row.row)
	info := tokenize.DocumentInfo{Ordinal: uint64(len(m.at)), Source: uint32(row.source), ID: id}
	doc, err := m.pack.Prepare(m.tok, info, row.text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", id, err)
	}
	at := -1
	packer, err := tokenize.NewPacker(m.pack, func(s *tokenize.Sequence) error {
		at = len(m.exam.docs)
		m.exam.docs = append(m.exam.docs, tokenize.Sequence{Tokens: slices.Clone(s.Tokens), Target: slices.Clone(s.Target),
			Segments: slices.Clone(s.Segments)})
		return nil
	})
	if err == nil {
		err = packer.Add(doc)
	}
	if err == nil {
		_, err = packer.Close()
	}
	m.at[row.mixPlace] = at
	fmt.Fprintf(m.hash, "%d %d:%s", row.source, len(row.text), row.text)
	return at, err
}

// Sequences implements [eval.Data].
func (e *MixExam) Sequences() int { return len(e.docs) }

// Sequence implements [eval.Data].
func (e *MixExam) Sequence(i int, dst *tokenize.Sequence) error {
	s := e.docs[i]
	dst.Tokens, dst.Target = append(dst.Tokens[:0], s.Tokens...), append(dst.Target[:0], s.Target...)
	dst.Segments = append(dst.Segments[:0], s.Segments...)
	return nil
}

// OfSeed are the losses of a seed's rows, from those of the exam.
func (e *MixExam) OfSeed(l *eval.Losses, seed int) *eval.Losses {
	out := &eval.Losses{Sources: l.Sources}
	for _, at := range e.BySeed[seed] {
		out.Sequences, out.Documents = append(out.Sequences, l.Sequences[at]), append(out.Documents, l.Documents[at])
	}
	return out
}

// Trained counts the rows of the exam, and of each seed, that begin like a training document of a run's
// tokens, for as many tokens as both sequences have room for.
func (e *MixExam) Trained(data eval.Data) (rows int, bySeed []int, err error) {
	var s tokenize.Sequence
	prefixes, room := map[uint64]bool{}, len(e.docs[0].Tokens)
	for i := range data.Sequences() {
		if err := data.Sequence(i, &s); err != nil {
			return 0, nil, err
		}
		room = min(room, len(s.Tokens))
		for _, seg := range s.Segments {
			if seg.From == 0 {
				prefixes[hashTokens(s.Tokens[seg.Start:min(seg.End, seg.Start+room)])] = true
			}
		}
	}
	trained := make([]bool, len(e.docs))
	for i, d := range e.docs {
		seg := d.Segments[0]
		if trained[i] = prefixes[hashTokens(d.Tokens[seg.Start:min(seg.End, seg.Start+room)])]; trained[i] {
			rows++
		}
	}
	for _, own := range e.BySeed {
		n := 0
		for _, at := range own {
			if trained[at] {
				n++
			}
		}
		bySeed = append(bySeed, n)
	}
	return rows, bySeed, nil
}

func hashTokens(ids []int32) uint64 {
	buf := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		buf = append(buf, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	return xxh3.Hash(buf)
}
