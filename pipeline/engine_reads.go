package pipeline

import (
	"cmp"
	"context"
)

// readSet is what a stage's Reads resolve to.
type readSet struct {
	files   map[string][]string
	known   map[string]Key // the identities of files
	keys    []string
	pinned  []pinnedFile
	heldOut *node
	parts   map[string][]ReadPart
	cut     int     // parts of all
	surveys []*node // that the parts wait for
}

func (b *builder) reads(step *Step, p Program) (readSet, error) {
	set := readSet{files: map[string][]string{}, known: map[string]Key{}, parts: map[string][]ReadPart{}}
	if p.Reads == nil {
		return set, nil
	}
	for _, read := range p.Reads(b.plan) {
		files, key, err := b.readFiles(step.Label(), read)
		if err != nil {
			return set, err
		}
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = f.name
		}
		set.files[read.Name], set.known[read.Name], set.keys = names, key, append(set.keys, string(key))
		set.pinned = append(set.pinned, files...)
		if read.Cut {
			b.cutFiles(read, files, &set)
		}
		if read.HeldOut && b.heldSet != nil {
			set.heldOut, set.keys = b.heldSet, append(set.keys, string(b.heldSet.key))
		}
	}
	return set, nil
}

// ReadPart is a file of a [Read], or a part of a large one.
type ReadPart struct {
	// File is the file's rank among those of the Read.
	File   int
	source fileSource
}

// Parts returns the parts of the files that the named Read found, if it cuts them, in order.
func (t *Task) Parts(read string) []ReadPart { return t.node.parts[read] }

// EachRecord calls visit with every record of the part, with its number in the file.
// See [EachRecord].
func (p ReadPart) EachRecord(ctx context.Context, t *Task, in Input, visit func(d *Doc) error) error {
	opts := p.source.rowOptions()
	opts.RecordBytesMax, opts.Hash = int64(in.RecordBytesMax), false
	return eachRecord(ctx, t.Inputs, p.source.file.full, in, opts, visit)
}

// cutFiles cuts the files of a Read. The tasks that find the line ends in them are gathered.
func (b *builder) cutFiles(read Read, files []pinnedFile, set *readSet) {
	for i, p := range files {
		f := &inputFile{source: "read", full: p.name, place: p.place, identity: p.stat, seenNS: p.stat.ModTimeNS,
			limit: -1, rangeBytes: cmp.Or(b.opt.RangeBytes, rangeBytes)}
		parts := []inputPart{{count: 1}}
		if f.cut() {
			parts = f.parts(b.opt.Inputs)
		}
		var surveys []*node
		for _, part := range parts {
			src := fileSource{file: f, part: part, surveys: surveys}
			set.parts[read.Name] = append(set.parts[read.Name], ReadPart{i, src})
			set.cut++
			if part.count > 1 && !f.isParquet() {
				surveys = append(surveys, b.readSurveys(f, part)...)
			}
		}
		set.surveys = append(set.surveys, surveys...)
	}
}

// readSurveys are the tasks that look at a part, which several stages may read.
func (b *builder) readSurveys(f *inputFile, part inputPart) []*node {
	nodes := (&inputLayout{builder: b}).surveys(f, part, nil)
	for i, n := range nodes {
		if known := b.surveyed[n.key]; known != nil {
			nodes[i] = known
			continue
		}
		b.surveyed[n.key] = n
		b.waves = append(b.waves, wave{nodes: []*node{n}})
	}
	return nodes
}
