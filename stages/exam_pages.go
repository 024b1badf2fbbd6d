package stages

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"math/big"
	"path/filepath"
	"slices"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
)

// pagedSource is a data set of which validators read pages.
type pagedSource struct {
	network.Source
	pages  mirror.Pages
	splits []mirror.Split // of which pages are drawn
	local  *localRows     // in place of the hub's rows
	absent string         // why it is left out, and what to do; empty if it is there
}

// pagedSources finds a profile's data sets in a mirror. Those that it lacks say so.
func pagedSources(fsys store.FS, p *network.Profile, dir string) ([]*pagedSource, error) {
	var out []*pagedSource
	for _, of := range p.Evaluate.Sources {
		s := &pagedSource{Source: of, pages: mirror.Pages{FS: fsys, Dir: dir, Path: of.Path}}
		files, err := s.pages.Local(of.Config)
		if err != nil {
			return nil, err
		}
		switch {
		case len(files) > 0:
			s.local = &localRows{fsys: fsys, files: files}
		case of.TextAt != "":
			s.absent = s.elsewhere()
		case of.Config != "":
			s.splits = []mirror.Split{{Config: of.Config, Split: "train"}}
		default:
			s.splits, err = s.pages.Splits()
		}
		if errors.Is(err, fs.ErrNotExist) {
			s.absent, err = s.nowhere(), nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// elsewhere says why a data set cannot be mirrored.
func (s *pagedSource) elsewhere() string {
	return fmt.Sprintf("its text is not at the hub, but in %s; put text of its kind into %s, as JSONL or Parquet with a column "+
		"content or text", s.TextAt, s.pages.Folder())
}

// nowhere says that the mirror has no page.
func (s *pagedSource) nowhere() string {
	return fmt.Sprintf("%s holds no page of it; run bzdata mirror", s.pages.Folder())
}

// leftOut says which data set has no part in the exam.
func (s *pagedSource) leftOut() string {
	return fmt.Sprintf("%s, of weight %g, is left out, and the other weights are scaled up: %s", s.Name, s.Weight, s.absent)
}

// draw draws the pages of a seed. Of rows that somebody has put there, pages are drawn as of a data set with one
// configuration, and all rows are one page where they are few.
func (s *pagedSource) draw(seed *big.Int) ([]network.Page, error) {
	of, rows := s.Source, []int64{}
	for _, split := range s.splits {
		rows = append(rows, split.Rows)
	}
	if s.local != nil {
		n, err := s.local.count()
		if err != nil || n < 2*network.PageRows {
			return []network.Page{{}}, err
		}
		of.RowsMax, rows = 0, []int64{n}
	}
	return of.DrawPages(seed, rows)
}

// texts reads the rows of pages, and counts those that the mirror lacks.
func (s *pagedSource) texts(pages []network.Page) (out [][]string, lacks int, err error) {
	if s.local != nil {
		out, err = s.local.read(pages)
		return out, 0, err
	}
	for _, page := range pages {
		texts, err := s.pages.Read(s.splits[page.Part], page.Offset)
		if errors.Is(err, fs.ErrNotExist) {
			lacks++
		} else if err != nil {
			return nil, 0, err
		}
		out = append(out, texts)
	}
	return out, lacks, nil
}

// of names a page for people.
func (s *pagedSource) of(page network.Page) string {
	if s.local != nil {
		return s.Name
	}
	return s.Name + ":" + s.splits[page.Part].Config
}

// pageMaker makes an exam of pages.
type pageMaker struct {
	profile *network.Profile
	options MixOptions
	sources []*pagedSource
	tok     *tokenize.Tokenizer
	pack    tokenize.PackOptions
	docs    mixDocs
	exam    *MixExam
	hash    hash.Hash
	ordinal uint64
	files   []string // that the exam is made of
}

// ownSources says that nobody else names the data sets.
func ownSources(p *network.Profile) error {
	return &pipeline.UsageError{Msg: p.Name + " names the data sets of its validators itself; leave sources_from out"}
}

// newPageMaker finds the pages of a mirror.
func newPageMaker(fsys store.FS, p *network.Profile, o MixOptions) (*pageMaker, error) {
	if o.SourcesFrom != "" {
		return nil, ownSources(p)
	}
	if o.SequenceLength == 0 {
		o.SequenceLength = p.Tokenize.SequenceLength
	}
	m := &pageMaker{profile: p, options: o, hash: sha256.New(),
		exam: &MixExam{First: o.First, Pages: true, Dropped: map[string]int{}}}
	var err error
	if m.sources, err = pagedSources(fsys, p, o.Mirror); err != nil {
		return nil, err
	}
	for _, s := range m.sources {
		m.exam.Sources = append(m.exam.Sources, s.Name)
		m.exam.Mix = append(m.exam.Mix, MixSource{Label: s.Name, Weight: s.Weight, Own: s.local != nil})
	}
	for i := range o.Seeds {
		m.exam.Seeds = append(m.exam.Seeds, network.CombinedSeed(map[string]uint64{"": o.First + uint64(i)}))
	}
	return m, m.find()
}

// find lists what the exam is made of, counts the pages, and leaves data sets out that have none. Files that
// somebody has put there are not read: they may be large, and a window leaves no time.
func (m *pageMaker) find() error {
	mirrored := func(s *pagedSource) bool { return s.absent == "" && s.local == nil }
	if err := m.eachPage(mirrored, m.count); err != nil {
		return err
	}
	for i, s := range m.sources {
		switch {
		case s.local != nil:
			m.files = append(m.files, s.local.files...)
			m.exam.Mix[i].Files = m.options.Seeds * s.Pages
			m.exam.Mix[i].There = m.exam.Mix[i].Files
		case s.absent == "" && s.Config == "":
			m.files = append(m.files, s.pages.SplitsFile())
		}
		if s.absent == "" && m.exam.Mix[i].There == 0 {
			s.absent = s.nowhere()
		}
		if s.absent != "" {
			m.exam.Short = append(m.exam.Short, s.leftOut())
		}
	}
	if len(m.exam.Short) == len(m.sources) {
		return &pipeline.UsageError{Msg: fmt.Sprintf("%s holds nothing of the data sets that validators of %s read; run bzdata "+
			"mirror", m.options.Mirror, m.profile.Name)}
	}
	slices.Sort(m.files)
	m.files = slices.Compact(m.files)
	return nil
}

// count counts pages of a data set.
func (m *pageMaker) count(_, source int, pages []network.Page) error {
	s, mix := m.sources[source], &m.exam.Mix[source]
	for _, page := range pages {
		mix.Files++
		if name := s.pages.File(s.splits[page.Part], page.Offset); store.Exists(s.pages.FS, name) {
			mix.There++
			m.files = append(m.files, name)
		}
	}
	return nil
}

// eachPage calls visit with the pages of all seeds and of the data sets that choose takes, in their order.
func (m *pageMaker) eachPage(choose func(*pagedSource) bool, visit func(seed, source int, pages []network.Page) error) error {
	for i, digits := range m.exam.Seeds {
		seed, err := network.PageSeed(digits)
		if err != nil {
			return err
		}
		for k, s := range m.sources {
			if !choose(s) {
				continue
			}
			pages, err := s.draw(seed)
			if err == nil {
				err = visit(i, k, pages)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// openPages makes the exam of a network whose validators read pages.
func openPages(ctx context.Context, fsys store.FS, p *network.Profile, base string, o MixOptions) (*MixExam, error) {
	m, err := newPageMaker(fsys, p, o)
	if err != nil {
		return nil, err
	}
	if m.tok, err = tokenize.Load(fsys, filepath.Join(base, "tokenizer.json")); err != nil {
		return nil, err
	}
	m.pack = examPacking(p, m.tok, m.options.SequenceLength)
	if m.pack.DocumentTokensMax, err = modelMaxLength(fsys, base); err != nil {
		return nil, err
	}
	m.exam.BySeed = make([][]int, len(m.exam.Seeds))
	there := func(s *pagedSource) bool { return s.absent == "" }
	err = m.eachPage(there, func(seed, source int, pages []network.Page) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return m.add(seed, source, pages)
	})
	if err != nil {
		return nil, err
	}
	if len(m.docs) == 0 {
		return nil, &pipeline.DataError{Msg: "no page of the mirror gives a sequence of " + fmt.Sprint(m.options.SequenceLength) +
			" tokens; run bzdata mirror"}
	}
	m.exam.Data, m.exam.Rows, m.exam.close = m.docs, len(m.docs), func() {}
	m.exam.Key = hex.EncodeToString(m.hash.Sum(nil)[:16])
	return m.exam, nil
}

// add adds the batches of a seed and a data set: documents joined with an EOS behind each and cut into whole sequences,
// shuffled, as many as a validator takes.
func (m *pageMaker) add(seed, source int, pages []network.Page) error {
	s, mix := m.sources[source], &m.exam.Mix[source]
	if s.local != nil { // fewer than the profile says, where the rows are few
		mix.Files -= s.Pages - len(pages)
		mix.There = mix.Files
	}
	batches, lacks, err := m.pages(s, source, pages)
	if err != nil {
		return err
	}
	label := fmt.Sprintf("seed %d, %s", seed+1, s.Name)
	if lacks > 0 {
		m.exam.Short = append(m.exam.Short, fmt.Sprintf("%s: the mirror lacks %d of %d pages; run bzdata mirror", label, lacks,
			len(pages)))
	}
	if len(batches) == 0 {
		m.exam.Short = append(m.exam.Short, label+": its pages do not fill a sequence, and it is left out")
	}
	number, err := network.PageSeed(m.exam.Seeds[seed])
	if err != nil {
		return err
	}
	network.ShuffleBatches(number, len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	if most := m.profile.Evaluate.BatchesMax; most > 0 && len(batches) > most {
		batches = batches[:most]
	}
	for _, b := range batches {
		m.exam.BySeed[seed] = append(m.exam.BySeed[seed], len(m.docs))
		m.docs = append(m.docs, b)
		var buf []byte
		for _, id := range b.Tokens {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(id))
		}
		fmt.Fprintf(m.hash, "%d:", source)
		m.hash.Write(buf)
	}
	mix.Rows += len(batches)
	if m.options.OnRow != nil {
		m.options.OnRow(seed*len(m.sources)+source+1, len(m.exam.Seeds)*len(m.sources))
	}
	return nil
}

// pages packs the rows of pages. What does not fill a sequence in the end is dropped, as there.
func (m *pageMaker) pages(s *pagedSource, source int, pages []network.Page) (out []tokenize.Sequence, lacks int, err error) {
	packer, err := tokenize.NewPacker(m.pack, func(q *tokenize.Sequence) error {
		out = append(out, tokenize.Sequence{Tokens: slices.Clone(q.Tokens), Target: slices.Clone(q.Target),
			Segments: slices.Clone(q.Segments)})
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	texts, lacks, err := s.texts(pages)
	if err != nil {
		return nil, 0, err
	}
	for k, page := range pages {
		for i, text := range texts[k] {
			info := tokenize.DocumentInfo{Ordinal: m.ordinal, Source: uint32(source),
				ID: fmt.Sprintf("%s:%d", s.of(page), page.Offset+int64(i))}
			m.ordinal++
			doc, err := m.pack.Prepare(m.tok, info, text)
			if err == nil {
				err = packer.Add(doc)
			}
			if err != nil {
				return nil, 0, fmt.Errorf("%s: %w", info.ID, err)
			}
		}
	}
	return out, lacks, nil
}

// modelMaxLength is the limit of tokenizer(text, truncation=True), model_max_length of tokenizer_config.json; 0 if it
// states none, as also the number does by which transformers means none.
func modelMaxLength(fsys store.FS, base string) (int, error) {
	name := filepath.Join(base, "tokenizer_config.json")
	data, err := store.ReadAll(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var config struct {
		Max float64 `json:"model_max_length"`
	}
	if err := errors.Join(err, json.Unmarshal(data, &config)); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if !(config.Max > 0 && config.Max < math.MaxInt32) {
		return 0, nil
	}
	return int(config.Max), nil
}
