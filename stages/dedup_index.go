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
	AgeMax     pipeline.Duration `yaml:"age_max" doc:"Read only generations whose dates are at most so much older than this one's, which must be a date, such as 2025-01-31, as those before it must. Older ones are only left out, never removed: to free their space, remove GENERATION.json and the folder GENERATION@… of it. No limit if not set."`
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
	return x.AgeMax == 0 || !ok || own.Sub(other) <= time.Duration(x.AgeMax) // what has no date is refused
}

// indexManifest is the file GENERATION.json in the folder of the stage's kind in an index. It is
// replaced by one rename, once the files that it names are there. It depends on what it describes,
// on its owner and on what its run read alone, not on how that was made: tasks of later runs are
// known by it.
type indexManifest struct {
	Format     int    `json:"format"`
	Generation string `json:"generation"`
	// Owner is the plan and the stage that made it.
	Owner string `json:"owner"`
	// Settings must be those of the stage that reads it.
	Settings map[string]string `json:"settings"`
	// Read are the earlier generations that its documents were compared with.
	Read      []string `json:"read"`
	Documents int      `json:"documents"`
	Bytes     int64    `json:"bytes"`
	// Files hold the documents, by the keys of Keys' entries, or by those that they are found by
	// if there are no Keys. Both are sorted, no key is in two files, and none is empty.
	Files []indexFile `json:"files"`
	// Keys hold the keys under which documents are found: their values are the keys of Files.
	Keys []indexFile `json:"keys,omitempty"`
}

// indexFile is a file, with the first and the last of its keys.
type indexFile struct {
	Name   string `json:"name"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// all are all files of the generation.
func (m *indexManifest) all() []indexFile { return slices.Concat(m.Files, m.Keys) }

// wordsVersion is raised when words, and so shingles, are other ones for the same text.
const wordsVersion = "1"

const (
	manifestSuffix = ".json"
	// indexFormat is that of manifests and their files; see the package comment.
	indexFormat = 3
	// indexRead is the name of the Read of earlier generations.
	indexRead = "index"
	// indexPart and indexKeys are the files that each partition makes for the index.
	indexPart, indexKeys = "index", "index-keys"
)

// folder is where the files are, beside the manifest: a name of what they hold.
func (m *indexManifest) folder() string {
	h := sha256.New()
	for _, f := range m.all() {
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
			for _, name := range files {
				if _, dated := generationDate(generationOf(name)); x.AgeMax > 0 && !dated {
					return &pipeline.UsageError{Msg: fmt.Sprintf("kept index %s: its generation is no date, and age_max "+
						"needs one; leave out `age_max`, or remove it", name)}
				}
				if _, err := x.manifest(fsys, name, p); err != nil {
					return err
				}
			}
			return nil
		},
	}}
}

// generationOf is the generation of a manifest's file.
func generationOf(name string) string { return strings.TrimSuffix(filepath.Base(name), manifestSuffix) }

// parseManifest reads a manifest, and refuses one of another format by its number.
func parseManifest(name string, data []byte) (*indexManifest, error) {
	m, what := &indexManifest{}, "it is damaged"
	err := json.Unmarshal(data, m)
	if err == nil && m.Format == indexFormat {
		return m, nil
	}
	if err == nil && m.Format > 0 {
		what = fmt.Sprintf("its format is %d, and this version reads %d", m.Format, indexFormat)
	}
	return nil, &pipeline.UsageError{Msg: fmt.Sprintf("kept index %s: %s; run the plan of its generation again, or remove it",
		name, what)}
}

// manifest reads a generation's manifest and refuses one that was made in another way.
func (x *keptIndex) manifest(fsys store.FS, name string, p *pipeline.Plan) (*indexManifest, error) {
	data, err := store.ReadAll(fsys, name)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(name, data)
	if err != nil {
		return nil, err
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

// describe gathers what the partitions made into the manifest, which is the task's output.
func (x *keptIndex) describe(t *pipeline.Task) error {
	m := indexManifest{Format: indexFormat, Generation: x.Generation, Owner: ownerOf(t.Plan, t.Step),
		Settings: x.settings(t.Plan), Read: []string{}, Files: []indexFile{}}
	files := dedup.NewIndexFiles(t.FS, 1)
	defer files.Close()
	for i, dir := range t.BarrierDirs() {
		part, n, err := describeFile(t.FS, files, dir, indexPart, i)
		if err != nil {
			return err
		}
		keys, _, err := describeFile(t.FS, files, dir, indexKeys, i)
		if err != nil {
			return err
		}
		m.Files, m.Keys, m.Documents = append(m.Files, part...), append(m.Keys, keys...), m.Documents+n
	}
	for _, f := range m.all() {
		m.Bytes += f.Bytes
	}
	var earlier indexSize
	for _, name := range t.Files(indexRead) {
		old, err := x.manifest(t.Inputs, name, t.Plan)
		if err != nil {
			return err
		}
		earlier.add(old)
		m.Read = append(m.Read, old.Generation)
	}
	slices.SortFunc(m.Read, compareGenerations)
	t.Figure(x.kind+" index", "%s documents, %s, %s for each; %s",
		strconv.Itoa(m.Documents), report.Size(m.Bytes), report.Size(m.Bytes/int64(max(1, m.Documents))), earlier)
	return writeJSONFile(t, indexPart+manifestSuffix, m)
}

// indexNames are the names in an index of the files that partitions make for it.
var indexNames = map[string]string{indexPart: "part-%05d", indexKeys: "keys-%05d"}

// describeFile describes a partition's file, if it made one that has entries.
func describeFile(fsys store.FS, files *dedup.IndexFiles, dir, name string, part int) ([]indexFile, int, error) {
	full := filepath.Join(dir, name)
	info, err := fsys.Stat(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	x, err := files.Open(full)
	if err != nil || x.Entries() == 0 {
		return nil, 0, err
	}
	first, last, err := x.Range()
	if err != nil {
		return nil, 0, err
	}
	sum, err := pipeline.FileSHA256(fsys, full)
	return []indexFile{{fmt.Sprintf(indexNames[name], part), first, last, info.Size(), sum}}, x.Entries(), err
}

// publish says how the generation gets into the index.
func (x *keptIndex) publish() pipeline.Publication {
	return pipeline.Publication{Place: x.place, Put: x.put, Tell: x.tell,
		Check: func(fsys store.FS, p *pipeline.Plan, s *pipeline.Step) error {
			m, err := x.own(fsys, p, s)
			if err != nil || m == nil {
				return err
			}
			return x.readAgain(fsys, p, s, m)
		}}
}

// readAgain refuses to repeat a generation if one that it read is gone: its documents would
// come out otherwise.
func (x *keptIndex) readAgain(fsys store.FS, p *pipeline.Plan, s *pipeline.Step, m *indexManifest) error {
	for _, generation := range m.Read {
		name := filepath.Join(x.place(p), generation+manifestSuffix)
		if x.reads(generation) && !store.Exists(fsys, name) {
			return &pipeline.UsageError{Msg: fmt.Sprintf("%s:%d: generation %s was made with %s before it, and %s is no longer "+
				"there; put it and its folder back, or remove %s to make %s without it", p.File, s.Line, x.Generation, generation,
				name, filepath.Join(x.place(p), x.Generation+manifestSuffix), x.Generation)}
		}
	}
	return nil
}

// indexSize is what some generations have together.
type indexSize struct {
	generations, documents int
	bytes                  int64
}

func (s *indexSize) add(m *indexManifest) {
	s.generations, s.documents, s.bytes = s.generations+1, s.documents+m.Documents, s.bytes+m.Bytes
}

func (s indexSize) String() string {
	return fmt.Sprintf("%d earlier generations have %d documents, %s", s.generations, s.documents, report.Size(s.bytes))
}

// tell says what the index has before a run, and how it grew.
func (x *keptIndex) tell(fsys store.FS, p *pipeline.Plan) (string, error) {
	entries, err := fsys.ReadDir(x.place(p))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var read, old indexSize
	var latest *indexManifest
	for _, e := range entries {
		generation, isManifest := strings.CutSuffix(e.Name(), manifestSuffix)
		if !isManifest || store.IsTemp(e.Name()) || compareGenerations(generation, x.Generation) >= 0 {
			continue
		}
		data, err := store.ReadAll(fsys, filepath.Join(x.place(p), e.Name()))
		m := &indexManifest{}
		if err != nil || json.Unmarshal(data, m) != nil {
			return "", err // what the run cannot read, it refuses
		}
		if !x.reads(generation) {
			old.add(m)
			continue
		}
		if read.add(m); latest == nil || compareGenerations(latest.Generation, generation) < 0 {
			latest = m
		}
	}
	text := "index: " + read.String()
	if latest != nil {
		text += fmt.Sprintf(", %s for each; the latest, %s, added %d documents, %s",
			report.Size(read.bytes/int64(max(1, read.documents))), latest.Generation, latest.Documents, report.Size(latest.Bytes))
	}
	if old.generations > 0 {
		text += fmt.Sprintf("; %d older than age_max, %s, stay there and are not read", old.generations, report.Size(old.bytes))
	}
	return text, nil
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
	if json.Unmarshal(data, m) != nil || m.Format == 0 {
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
	for _, f := range m.all() {
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
	wanted := map[string]bool{}
	for _, f := range m.all() {
		wanted[f.Name] = true
	}
	for i, part := range t.BarrierDirs() {
		for from, to := range indexNames {
			if to = fmt.Sprintf(to, i); !wanted[to] {
				continue
			}
			if err := copyFile(t.FS, filepath.Join(part, from), filepath.Join(tmp, to)); err != nil {
				return err
			}
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
