package stages

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"bzdata/dedup"
	"bzdata/pipeline"
)

const (
	// indexOpenMax is how many files of an index each task holds open at most.
	indexOpenMax = 128
	// indexDocumentsMax is of how many files of documents a task holds the tables.
	indexDocumentsMax = 128
	// indexFileBytes is about what a manifest takes in memory for a file.
	indexFileBytes = 160
)

// earlierDoc is a document of an earlier generation: the rank of this among those that a task
// reads, and the document's number there. Documents are compared in their order.
type earlierDoc struct {
	generation uint32
	number     uint64
}

func (d earlierDoc) compare(o earlierDoc) int {
	return cmp.Or(cmp.Compare(d.generation, o.generation), cmp.Compare(d.number, o.number))
}

// keptGenerations are the generations that a task reads. Their files are opened when a key is
// asked for that can be in them.
type keptGenerations struct {
	files      *dedup.IndexFiles
	hold       func(bytes int64) error
	list       []*keptGeneration
	values     []uint64
	documents  map[string]*dedup.Index // by name
	held, most int64                   // bytes of these: now, and asked for
}

// keptGeneration is one of them.
type keptGeneration struct {
	name, dir string
	keys      []indexFile // in which documents are found
	docs      []indexFile
	at        int          // the file of keys at hand
	file      *dedup.Index // or nil: it is not open yet
	held      int64        // bytes asked for
}

// open opens the index for lookups.
func (x *keptIndex) open(t *pipeline.Task) (*keptGenerations, error) {
	g := &keptGenerations{documents: map[string]*dedup.Index{}, files: dedup.NewIndexFiles(t.Inputs, indexOpenMax)}
	if x == nil {
		return g, nil
	}
	g.hold = func(bytes int64) error {
		err := t.Hold(bytes)
		var budget *pipeline.BudgetError
		if errors.As(err, &budget) {
			budget.What = fmt.Sprintf("lookups in kept index %s, of which `age_max` reads fewer generations,", x.place(t.Plan))
		}
		return err
	}
	names := t.Files(indexRead)
	slices.SortFunc(names, func(a, b string) int { return compareGenerations(generationOf(a), generationOf(b)) })
	for _, name := range names {
		m, err := x.manifest(t.Inputs, name, t.Plan)
		if err == nil {
			err = g.hold(indexFileBytes * int64(len(m.Files)+len(m.Keys)))
		}
		if err != nil {
			return nil, err
		}
		k := &keptGeneration{name: m.Generation, dir: filepath.Join(filepath.Dir(name), m.folder()), keys: m.Keys, docs: m.Files}
		if len(k.keys) == 0 {
			k.keys = k.docs
		}
		g.list = append(g.list, k)
	}
	return g, nil
}

func (g *keptGenerations) close() error { return g.files.Close() }

// find calls visit with the documents of a key, in their order, most of them at most. Keys are
// asked for in rising order.
func (g *keptGenerations) find(key uint64, most int, visit func(d earlierDoc) error) error {
	for i, k := range g.list {
		file, err := g.fileOf(k, key)
		if err != nil {
			return err
		}
		if file == nil {
			continue
		}
		if g.values, err = file.Find(g.values[:0], key, most); err != nil {
			return err
		}
		most -= len(g.values)
		for _, number := range g.values {
			if err := visit(earlierDoc{uint32(i), number}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileOf moves a generation to the file that can have a key, or returns nil if none can.
func (g *keptGenerations) fileOf(k *keptGeneration, key uint64) (*dedup.Index, error) {
	for k.at < len(k.keys) && k.keys[k.at].Last < key {
		k.at, k.file = k.at+1, nil
	}
	if k.at == len(k.keys) || k.keys[k.at].First > key {
		return nil, nil
	}
	if k.file != nil {
		return k.file, nil
	}
	var err error
	if k.file, err = g.files.Open(filepath.Join(k.dir, k.keys[k.at].Name)); err != nil {
		return nil, err
	}
	more := max(0, k.file.MemoryBytes()-k.held)
	k.held += more
	return k.file, g.hold(more)
}

// document returns a document found under its own key: its name, with the generation, and its set.
func (g *keptGenerations) document(d earlierDoc) (name string, set []uint64, err error) {
	k := g.list[d.generation]
	i, _ := slices.BinarySearchFunc(k.docs, d.number, func(f indexFile, number uint64) int { return cmp.Compare(f.Last, number) })
	if i == len(k.docs) {
		return "", nil, k.lost(d)
	}
	file, err := g.documentFile(filepath.Join(k.dir, k.docs[i].Name))
	if err != nil {
		return "", nil, err
	}
	if g.values, err = file.Find(g.values[:0], d.number, 1); err != nil || len(g.values) == 0 {
		return "", nil, cmp.Or(err, k.lost(d))
	}
	return k.document(file, g.values[0])
}

// found returns the document that [keptGenerations.find] found in a file that holds documents.
func (g *keptGenerations) found(d earlierDoc) (name string, set []uint64, err error) {
	k := g.list[d.generation]
	return k.document(k.file, d.number)
}

func (k *keptGeneration) document(file *dedup.Index, at uint64) (string, []uint64, error) {
	name, set, err := file.Document(at)
	return k.name + "/" + name, set, err
}

func (k *keptGeneration) lost(d earlierDoc) error {
	return fmt.Errorf("kept index %s: document %x is not there; run the plan of its generation again", k.dir, d.number)
}

// documentFile opens a file of documents. Those opened before are forgotten when they are too many.
func (g *keptGenerations) documentFile(name string) (*dedup.Index, error) {
	if x := g.documents[name]; x != nil {
		return x, nil
	}
	x, err := g.files.Open(name)
	if err != nil {
		return nil, err
	}
	if len(g.documents) >= indexDocumentsMax {
		clear(g.documents)
		g.held = 0
	}
	g.documents[name], g.held = x, g.held+x.MemoryBytes()
	more := max(0, g.held-g.most)
	g.most += more
	return x, g.hold(more)
}
