package stages

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
)

// KeptIndex is where a stage keeps what stayed, for later runs.
type KeptIndex struct {
	Dir        pipeline.Path     `yaml:"dir" required:"true" doc:"Folder of the index. One that is not there is an empty index."`
	Generation string            `yaml:"generation" required:"true" doc:"Name of this run's part, such as a date. The run reads those that sort before it, numbers by value, and writes only its own, once all stages and alarms have passed: not with --limit, nor if --until ends it earlier. Run again it replaces its own; what another plan or stage wrote it refuses to."`
	AgeMax     pipeline.Duration `yaml:"age_max" doc:"Read only generations whose dates are at most so much older than this one's, which must be a date, such as 2025-01-31. No limit if not set."`
}

// Check asks for a generation that can be a file's name, and a date if its age counts.
func (x *KeptIndex) Check(at *pipeline.Fields) {
	legal := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_.:", r)
	}
	if strings.IndexFunc(x.Generation, func(r rune) bool { return !legal(r) }) >= 0 ||
		len(x.Generation) > 64 || strings.HasPrefix(x.Generation, ".") {
		at.Errorf("generation", "use letters, digits and - _ . : only, at most 64")
		return
	}
	if _, ok := generationDate(x.Generation); x.AgeMax > 0 && !ok {
		at.Errorf("generation", "%q is no date, and age_max needs one, such as 2025-01-31", x.Generation)
	}
}

func generationDate(name string) (time.Time, bool) {
	for _, form := range slices.Concat(dateForms, []string{"20060102", "2006-01-02-15"}) {
		if t, err := time.Parse(form, name); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// compareGenerations orders names by their letters, runs of digits by their value.
func compareGenerations(a, b string) int {
	for x, y := a, b; x != "" || y != ""; {
		i, j := digits(x), digits(y)
		if i > 0 && j > 0 {
			m, n := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n)); c != 0 {
				return c
			}
			x, y = x[i:], y[j:]
			continue
		}
		if x == "" || y == "" || x[0] != y[0] {
			return strings.Compare(x, y)
		}
		x, y = x[1:], y[1:]
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		return i
	}
	return len(s)
}

// reads reports whether this run reads a generation.
func (x *KeptIndex) reads(generation string) bool {
	if compareGenerations(generation, x.Generation) >= 0 {
		return false
	}
	own, _ := generationDate(x.Generation)
	other, ok := generationDate(generation)
	return x.AgeMax == 0 || ok && own.Sub(other) <= time.Duration(x.AgeMax)
}

// indexManifest is the file GENERATION.json in the folder of the stage's kind in an index. It is
// replaced by one rename, once the files that it names are there. It depends on what it describes
// and on its owner alone, not on how that was made: tasks of later runs are known by it.
type indexManifest struct {
	Format     int    `json:"format"`
	Generation string `json:"generation"`
	// Owner is the plan and the stage that made it.
	Owner string `json:"owner"`
	// Settings must be those of the stage that reads it.
	Settings  map[string]string `json:"settings"`
	Documents int               `json:"documents"`
	Bytes     int64             `json:"bytes"`
	Files     []indexFile       `json:"files"`
}

type indexFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// wordsVersion is raised when words, and so shingles, are other ones for the same text.
const wordsVersion = "1"

const (
	manifestSuffix = ".json"
	indexFormat    = 2
	// indexRead is the name of the Read of earlier generations.
	indexRead = "index"
	// indexPart is the file that each partition makes for the index.
	indexPart = "index"
	// indexFilesMax bounds the files that each task holds open for lookups: common limits on
	// open files are 2^20 for a process, and 64 tasks may run at a time.
	indexFilesMax = 16384
)

// folder is where the files are, beside the manifest: a name of what they hold.
func (m *indexManifest) folder() string {
	h := sha256.New()
	for _, f := range m.Files {
		fmt.Fprintln(h, f.Name, f.SHA256)
	}
	return fmt.Sprintf("%s@%x", m.Generation, h.Sum(nil)[:8])
}

// keptIndex is the index of one stage; a nil one is none.
type keptIndex struct {
	*KeptIndex
	kind     string
	settings func(p *pipeline.Plan) map[string]string
}

// read is what the stage reads of the index: the manifests of earlier generations, by whose
// content tasks are known.
func (x *keptIndex) read(p *pipeline.Plan) []pipeline.Read {
	return []pipeline.Read{{
		Name: indexRead, Optional: true,
		Paths:  []string{filepath.ToSlash(filepath.Join(string(x.Dir), x.kind, "*"+manifestSuffix))},
		Select: func(name string) bool { return x.reads(generationOf(name)) },
		Check: func(fsys store.FS, files []string) error {
			sum := 0
			for _, name := range files {
				m, err := x.manifest(fsys, name, p)
				if err != nil {
					return err
				}
				sum += len(m.Files)
			}
			if sum > indexFilesMax {
				return &pipeline.UsageError{Msg: fmt.Sprintf("kept index %s: %d earlier generations have %d files, and a task "+
					"opens %d at most; read fewer generations with `age_max`, or begin another `index.dir`",
					x.place(p), len(files), sum, indexFilesMax)}
			}
			return nil
		},
	}}
}

// generationOf is the generation of a manifest's file.
func generationOf(name string) string { return strings.TrimSuffix(filepath.Base(name), manifestSuffix) }

// manifest reads a generation's manifest and refuses one that was made in another way.
func (x *keptIndex) manifest(fsys store.FS, name string, p *pipeline.Plan) (*indexManifest, error) {
	data, err := store.ReadAll(fsys, name)
	if err != nil {
		return nil, err
	}
	m := &indexManifest{}
	if err := json.Unmarshal(data, m); err != nil || m.Format != indexFormat {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("kept index %s: it is damaged, or not of this version; "+
			"run the plan of its generation again, or remove it", name)}
	}
	want := x.settings(p)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if m.Settings[key] != want[key] {
			return nil, &pipeline.UsageError{Msg: fmt.Sprintf("kept index %s was made with %s %s, and this plan has %s; "+
				"use the same, or another `index.dir`", name, key, m.Settings[key], want[key])}
		}
	}
	return m, nil
}

// keptGenerations are the files of the generations that a task reads.
type keptGenerations struct {
	files      []*dedup.Index
	generation []string // by file
	docs       []uint32
}

// open opens the index for lookups.
func (x *keptIndex) open(t *pipeline.Task) (*keptGenerations, error) {
	g := &keptGenerations{}
	if x == nil {
		return g, nil
	}
	names := t.Files(indexRead)
	slices.SortFunc(names, func(a, b string) int { return compareGenerations(generationOf(a), generationOf(b)) })
	for _, name := range names {
		m, err := x.manifest(t.Inputs, name, t.Plan)
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		for _, file := range m.Files {
			f, err := dedup.OpenIndex(t.Inputs, filepath.Join(filepath.Dir(name), m.folder(), file.Name))
			if err != nil {
				return nil, errors.Join(err, g.close())
			}
			g.files, g.generation = append(g.files, f), append(g.generation, m.Generation)
			if err := t.Hold(f.MemoryBytes()); err != nil {
				return nil, errors.Join(fmt.Errorf("kept index %s: what its files take for lookups is too much; read fewer "+
					"generations with `age_max`: %w", x.place(t.Plan), err), g.close())
			}
		}
	}
	return g, nil
}

func (g *keptGenerations) close() error {
	var errs []error
	for _, f := range g.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// find calls visit with the documents of a key, in order of generation and number, most of them
// at most. Keys are asked for in rising order.
func (g *keptGenerations) find(key uint64, most int, visit func(order uint64) error) error {
	for i, f := range g.files {
		var err error
		if g.docs, err = f.Find(g.docs[:0], key, most); err != nil {
			return err
		}
		most -= len(g.docs)
		for _, doc := range g.docs {
			if err := visit(uint64(i)<<32 | uint64(doc)); err != nil {
				return err
			}
		}
	}
	return nil
}

// document returns a document by its order: its name, with the generation, and its set.
func (g *keptGenerations) document(order uint64) (name string, set []uint64, err error) {
	i := int(order >> 32)
	name, set, err = g.files[i].Document(uint32(order))
	return g.generation[i] + "/" + name, set, err
}

// describe gathers what the partitions made into the manifest, which is the task's output.
func (x *keptIndex) describe(t *pipeline.Task) error {
	m := indexManifest{Format: indexFormat, Generation: x.Generation, Owner: ownerOf(t.Plan, t.Step),
		Settings: x.settings(t.Plan), Files: []indexFile{}}
	for i, dir := range t.BarrierDirs() {
		name := filepath.Join(dir, indexPart)
		f, err := dedup.OpenIndex(t.FS, name)
		if err != nil {
			return err
		}
		info, err := t.FS.Stat(name)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		sum, err := pipeline.FileSHA256(t.FS, name)
		if err != nil {
			return err
		}
		m.Documents, m.Bytes = m.Documents+f.Documents(), m.Bytes+info.Size()
		m.Files = append(m.Files, indexFile{"part-" + fmt.Sprintf("%05d", i), info.Size(), sum})
	}
	earlier, documents, bytes := t.Files(indexRead), 0, int64(0)
	for _, name := range earlier {
		old, err := x.manifest(t.Inputs, name, t.Plan)
		if err != nil {
			return err
		}
		documents, bytes = documents+old.Documents, bytes+old.Bytes
	}
	t.Figure(x.kind+" index", "%s documents, %s, %s for each; %d earlier generations have %s documents, %s",
		strconv.Itoa(m.Documents), report.Size(m.Bytes), report.Size(m.Bytes/int64(max(1, m.Documents))),
		len(earlier), strconv.Itoa(documents), report.Size(bytes))
	return writeJSONFile(t, indexPart+manifestSuffix, m)
}

// publish says how the generation gets into the index.
func (x *keptIndex) publish() pipeline.Publication {
	return pipeline.Publication{Place: x.place, Put: x.put,
		Check: func(fsys store.FS, p *pipeline.Plan, s *pipeline.Step) error {
			_, err := x.own(fsys, p, s)
			return err
		}}
}

// place is the folder of the stage's kind in the index.
func (x *keptIndex) place(p *pipeline.Plan) string {
	return filepath.Join(p.Path(string(x.Dir)), x.kind)
}

// ownerOf says whose a generation is: another plan or stage must not replace it.
func ownerOf(p *pipeline.Plan, s *pipeline.Step) string {
	return fmt.Sprintf("plan %s, stage %s", p.Name, s.Label())
}

// own returns the manifest of the generation that is there already, or nil; one that is damaged
// is as good as none. It refuses another owner's.
func (x *keptIndex) own(fsys store.FS, p *pipeline.Plan, s *pipeline.Step) (*indexManifest, error) {
	name, m := filepath.Join(x.place(p), x.Generation+manifestSuffix), &indexManifest{}
	data, err := store.ReadAll(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, m) != nil || m.Format != indexFormat {
		return nil, nil
	}
	if m.Owner != ownerOf(p, s) {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s:%d: generation %s in %s is that of %s; use another generation or "+
			"`index.dir`, or remove %s first", p.File, s.Line, x.Generation, x.place(p), m.Owner, name)}
	}
	return m, nil
}

// put puts the generation into the index: its files under a name of their content, then the
// manifest in one rename, then what it replaces is removed. What is there and whole stays.
func (x *keptIndex) put(t *pipeline.Task) error {
	var m indexManifest
	if err := readJSONFile(t, t.OutputDir(), indexPart+manifestSuffix, &m); err != nil {
		return err
	}
	old, err := x.own(t.FS, t.Plan, t.Step)
	if err != nil {
		return err
	}
	dir := x.place(t.Plan)
	if !m.complete(t.FS, dir) {
		if err := cmp.Or(t.FS.MkdirAll(dir), x.copyFiles(t, dir, m)); err != nil {
			return err
		}
	}
	if old == nil || !old.equal(&m) {
		text, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			return err
		}
		if err := store.WriteBytes(t.FS, filepath.Join(dir, x.Generation+manifestSuffix), text); err != nil {
			return err
		}
	}
	return m.removeOthers(t.FS, dir)
}

func (m *indexManifest) equal(o *indexManifest) bool {
	a, err := json.Marshal(m)
	b, other := json.Marshal(o)
	return cmp.Or(err, other) == nil && bytes.Equal(a, b)
}

// complete reports whether the files are there with their content.
func (m *indexManifest) complete(fsys store.FS, dir string) bool {
	for _, f := range m.Files {
		sum, err := pipeline.FileSHA256(fsys, filepath.Join(dir, m.folder(), f.Name))
		if err != nil || sum != f.SHA256 {
			return false
		}
	}
	return true
}

// removeOthers removes the folders of the generation that the manifest no longer names.
func (m *indexManifest) removeOthers(fsys store.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), m.Generation+"@") && e.Name() != m.folder() {
			err = cmp.Or(err, store.RemoveAll(fsys, filepath.Join(dir, e.Name())))
		}
	}
	return err
}

func (x *keptIndex) copyFiles(t *pipeline.Task, dir string, m indexManifest) error {
	folder := filepath.Join(dir, m.folder())
	tmp := store.TempName(folder)
	if err := cmp.Or(store.RemoveAll(t.FS, tmp), t.FS.MkdirAll(tmp)); err != nil {
		return err
	}
	for i, part := range t.BarrierDirs() {
		err := copyFile(t.FS, filepath.Join(part, indexPart), filepath.Join(tmp, m.Files[i].Name))
		if err != nil {
			return err
		}
	}
	return cmp.Or(store.CommitDir(t.FS, tmp, folder), t.FS.SyncDir(filepath.Dir(dir)))
}

func copyFile(fsys store.FS, from, to string) error {
	f, err := fsys.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return store.WriteFile(fsys, to, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(f, 0, f.Size()))
		return err
	})
}

// global is the last task of a stage's barrier: it makes the manifest, if there is an index.
func (x *keptIndex) global() func(context.Context, *pipeline.Task) error {
	if x == nil {
		return nil
	}
	return func(_ context.Context, t *pipeline.Task) error { return x.describe(t) }
}
