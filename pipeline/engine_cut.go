package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"bzdata/pipeline/store"
)

// rangeBytes is the least size of the ranges that a large plain file is cut into, and half
// the largest: few enough that a task's own cost is lost in its reading (64 MiB are about a
// second's work), small enough that tasks are many where it matters and a shard's lists of
// documents and records stay small. It is a constant, so that cuts follow from the file.
const rangeBytes = 64 << 20

// uncutBytes is what a record is taken for when a limit decides about cutting: an entry of
// fewer records than a range would hold is read by one task a file, which stops there.
const uncutBytes = 1 << 10

// inputPart is the part of an input file that one task reads.
type inputPart struct {
	index, count int
	lines        store.LineRange // of a file of lines, but for FirstLine
	groups       [2]int          // of a Parquet file that is cut
	rows         int64           // in them
	bytes        int64           // about; of the whole file if it is not cut
}

// cut reports whether the file may be cut into parts: a compressed file is one stream, and
// of a remote one only Parquet is read at offsets. It follows from the file and its entry.
func (f *inputFile) cut() bool {
	limited := f.limit >= 0 && f.limit <= f.rangeBytes/uncutBytes
	return !limited && f.identity.Bytes >= 2*f.rangeBytes && store.CompressionOf(f.full) == store.Plain &&
		(f.isParquet() || !store.IsRemote(f.full))
}

// ranged reports whether the file is hashed by ranges. A remote one that is cut is not hashed,
// since that would read it twice: it is known by its entity tag.
func (f *inputFile) ranged() bool { return f.cut() && !store.IsRemote(f.full) }

func (f *inputFile) isParquet() bool {
	format, err := store.FormatOf(f.full)
	return err == nil && format.Layout == store.Parquet
}

// ranges cuts a file into ranges of one size, of which the last may be smaller.
func (f *inputFile) ranges() []store.LineRange {
	size := f.identity.Bytes
	if !f.ranged() {
		return []store.LineRange{{To: size}}
	}
	n := size / f.rangeBytes
	step := (size + n - 1) / n
	var out []store.LineRange
	for from := int64(0); from < size; from += step {
		out = append(out, store.LineRange{From: from, To: min(size, from+step)})
	}
	return out
}

// parts cuts a file for tasks. A Parquet file that cannot be read is left whole: the task
// that reads it says what is wrong.
func (f *inputFile) parts(fsys store.FS) []inputPart {
	var parts []inputPart
	if f.isParquet() {
		groups, err := store.ParquetGroups(fsys, f.full)
		if err == nil && len(groups) > 0 {
			parts = groupParts(groups, int(f.identity.Bytes/f.rangeBytes))
		}
	} else {
		for _, r := range f.ranges() {
			parts = append(parts, inputPart{lines: r, bytes: r.To - r.From})
		}
	}
	if len(parts) == 0 {
		parts = []inputPart{{}}
	}
	for i := range parts {
		p := &parts[i]
		p.index, p.count = i, len(parts)
		if p.bytes == 0 {
			p.bytes = f.identity.Bytes / int64(len(parts))
		}
	}
	return parts
}

// groupParts makes runs of row groups, at most n, that are about equal: a group belongs to
// the part that its middle lies in.
func groupParts(groups []store.ParquetGroup, n int) []inputPart {
	total, before := 0.0, 0.0
	for _, g := range groups {
		total += float64(g.Bytes)
	}
	var parts []inputPart
	last := -1
	for i, g := range groups {
		middle := before + float64(g.Bytes)/2
		before += float64(g.Bytes)
		if at := int(middle / max(1, total) * float64(n)); at != last {
			last, parts = at, append(parts, inputPart{groups: [2]int{i, i}})
		}
		p := &parts[len(parts)-1]
		p.groups[1], p.rows = i+1, p.rows+g.Rows
	}
	return parts
}

// SurveyRecord is what a task has found that looked at a range of a file of lines, for
// the tasks that read later ranges.
type SurveyRecord struct {
	// Ends is the number of line ends in the range, Records that of its records if a limit
	// spans the file; it is no more than the limit leaves.
	Ends    int64 `json:"line_ends"`
	Records int64 `json:"records,omitempty"`
	// SHA256 is the hash of the range's bytes, if all were read.
	SHA256 string `json:"sha256,omitempty"`
}

// survey is the work of a task that looks at one range of a file.
type survey struct {
	file  *inputFile
	lines store.LineRange
	limit *entryCount // what a limit leaves, or nil
}

func (s survey) work(_ context.Context, t *Task) error {
	if err := s.file.unchanged(t.Inputs); err != nil {
		return err
	}
	t.Report.Survey = &SurveyRecord{}
	most := int64(-1)
	if s.limit != nil {
		if most = s.limit.left(s.file.limit); most == 0 {
			return nil
		}
	}
	if !s.file.cut() {
		n, err := store.CountRecords(t.Inputs, s.file.full, s.file.recordBytesMax, most)
		t.Report.Survey.Records = n
		return inputFault(err)
	}
	found, err := store.SurveyLines(t.Inputs, s.file.full, s.lines, s.file.recordBytesMax, most)
	if err != nil {
		return inputFault(err)
	}
	t.Report.Survey.Ends, t.Report.Survey.Records = found.Ends, found.Records
	if found.Whole {
		t.Report.Survey.SHA256 = hex.EncodeToString(found.SHA256[:])
	}
	return s.file.unchanged(t.Inputs)
}

// sumOfRanges is what a file that is read by ranges is compared by: the SHA-256 of its
// ranges' hashes in hexadecimal, or "" if one is not known.
func sumOfRanges(hashes []string) string {
	all := sha256.New()
	for _, h := range hashes {
		if h == "" {
			return ""
		}
		all.Write([]byte(h))
	}
	return hex.EncodeToString(all.Sum(nil))
}

// entryCount says how many records an entry's earlier parts have, where a limit spans them.
type entryCount struct {
	key     Key     // of the parts
	surveys []*node // of files of lines
	rows    int64   // in Parquet files
}

// left returns how many of limit records the parts leave.
func (e *entryCount) left(limit int64) int64 {
	limit -= e.rows
	for _, n := range e.surveys {
		limit -= n.report.Survey.Records
	}
	return max(0, limit)
}

// inputLayout makes the shards of the input files.
type inputLayout struct {
	*builder
	counts map[int]*entryCount // by entry: those with a limit and a file that is cut
}

// begin makes the given files the shards: one each, or one for each part of a large one.
func (b *builder) begin(files []*inputFile) {
	l := &inputLayout{b, map[int]*entryCount{}}
	for _, f := range files {
		if f.limit >= 0 && f.cut() {
			l.counts[f.entry] = &entryCount{}
		}
	}
	b.shards, b.run.shardFiles = nil, nil
	for rank, f := range files {
		l.file(rank, f)
	}
}

// file adds the shards of one file, with the tasks that look at its ranges.
func (l *inputLayout) file(rank int, f *inputFile) {
	count := l.counts[f.entry]
	key := f.key()
	if count != nil {
		key = keyOf(string(key), string(count.key))
		count.key = key
	}
	parts := []inputPart{{lines: store.LineRange{To: f.identity.Bytes}, count: 1, bytes: f.identity.Bytes}}
	if f.cut() || count != nil && f.isParquet() {
		parts = f.parts(l.opt.Inputs)
	}
	var surveys []*node
	for _, p := range parts {
		src := &fileSource{file: f, part: p, surveys: surveys}
		st := shardState{source: storedOrFile{file: src}, key: key, file: f, rank: rank, part: p}
		if p.count > 1 {
			st.key = keyOf("part", string(key), fmt.Sprint(p.lines, p.groups))
		}
		if count != nil {
			before := *count
			src.count = &before
			count.rows += p.rows
		}
		if l.surveyed(f, p, count) {
			st.surveys = l.surveys(f, p, count)
			surveys = append(surveys, st.surveys...)
		}
		if last := p.index == p.count-1; last && f.ranged() && len(f.columns) == 0 {
			src.hashes = surveys
		}
		l.shards, l.run.shardFiles = append(l.shards, st), append(l.run.shardFiles, f)
	}
}

// surveyed reports whether tasks look at a part of a file first. They say which lines are
// where, and how many count for a limit; Parquet files say so themselves and are only
// hashed, at their last part, if all their bytes are read anyway.
func (l *inputLayout) surveyed(f *inputFile, p inputPart, count *entryCount) bool {
	if f.isParquet() {
		return f.ranged() && len(f.columns) == 0 && p.index == p.count-1
	}
	return f.cut() || count != nil
}

func (l *inputLayout) surveys(f *inputFile, p inputPart, count *entryCount) []*node {
	ranges := []store.LineRange{p.lines}
	if f.isParquet() {
		ranges, count = f.ranges(), nil
	}
	var out []*node
	for _, r := range ranges {
		s, of := survey{file: f, lines: r}, ""
		var after []*node
		if count != nil {
			before := *count
			s.limit, of, after = &before, string(count.key), before.surveys
		}
		id := f.identity
		key := keyOf("survey", f.source, id.Path, f.place, fmt.Sprint(id.Bytes, id.ModTimeNS, id.ETag, r), of)
		n := l.node(lastStep(nil), fmt.Sprintf("%s:%s bytes %d to %d", f.source, f.identity.Path, r.From, r.To), key, nil)
		n.file, n.work, n.after = f.full, s.work, after
		out = append(out, n)
		if count != nil {
			count.surveys = append(count.surveys, n)
		}
	}
	return out
}

// withSurveys puts the tasks that look at a file's ranges before those that wait for them,
// and no further, so that a range is most often read again while memory holds it.
func (b *builder) withSurveys(segments []*node) []*node {
	var nodes []*node
	for i, n := range segments {
		nodes = append(append(nodes, b.shards[i].surveys...), n)
	}
	return nodes
}
