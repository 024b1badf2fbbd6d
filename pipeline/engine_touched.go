package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// record is what reports say about the file.
func (f *inputFile) record() InputRecord {
	return InputRecord{Source: f.source, Path: f.identity.Path, Place: f.place, Bytes: f.identity.Bytes,
		ModTimeNS: f.identity.ModTimeNS, ETag: f.identity.ETag}
}

// samePlace is what a file that was only touched has in common with its earlier self.
type samePlace struct {
	place string
	bytes int64
}

// touched finds files that an earlier run has read and that have the same content, but
// another time, and gives them their earlier identity, so that copying a data set anew
// repeats nothing. Content is compared by SHA-256 where it is known, and once: run.json
// remembers the time at which a file was found to be the same.
func (r *run) touched(ctx context.Context, files []*inputFile) error {
	rec, err := ReadRecord(r.opt.FS, r.opt.Workdir)
	if err != nil || rec == nil || r.opt.Fresh {
		return nil // there is nothing to go on, or its damage is told later
	}
	last := map[samePlace]InputRecord{}
	for _, in := range slices.Concat(rec.Inputs, rec.HeldOut) {
		last[samePlace{in.Place, in.Bytes}] = in
	}
	var read map[samePlace][]InputRecord
	for _, f := range files {
		in, known := last[samePlace{f.place, f.identity.Bytes}]
		switch {
		case f.identity.ETag != "": // it has no time
			continue
		case known && in.ModTimeNS == f.seenNS:
			continue
		case known && in.TouchedNS == f.seenNS:
			f.identity.ModTimeNS = in.ModTimeNS
			continue
		}
		if read == nil {
			if read, err = r.inputsRead(); err != nil {
				return err
			}
		}
		if err := r.compare(ctx, f, read[samePlace{f.place, f.identity.Bytes}]); err != nil {
			return err
		}
	}
	return nil
}

// inputsRead lists the files that committed tasks have read to their end.
func (r *run) inputsRead() (map[samePlace][]InputRecord, error) {
	entries, err := r.opt.FS.ReadDir(r.stages())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	read := map[samePlace][]InputRecord{}
	for _, e := range entries {
		if !isTaskKey(e.Name()) {
			continue
		}
		report, err := TaskReportOf(r.opt.FS, r.opt.Workdir, Key(e.Name()))
		if err != nil || report.Input == nil || report.Input.SHA256 == "" {
			continue // damaged ones are done again
		}
		at := samePlace{report.Input.Place, report.Input.Bytes}
		if !slices.Contains(read[at], *report.Input) {
			read[at] = append(read[at], *report.Input)
		}
	}
	return read, nil
}

// compare gives f the identity of the record whose content it has, the latest if there
// are several.
func (r *run) compare(ctx context.Context, f *inputFile, records []InputRecord) error {
	own := func(in InputRecord) bool { return in.ModTimeNS == f.seenNS }
	if len(records) == 0 || slices.ContainsFunc(records, own) {
		return nil
	}
	sum, err := r.sha256Of(ctx, f)
	if err != nil {
		return err
	}
	slices.SortStableFunc(records, func(a, b InputRecord) int { return cmp.Compare(b.ModTimeNS, a.ModTimeNS) })
	for _, in := range records {
		if in.SHA256 == sum {
			f.identity.ModTimeNS = in.ModTimeNS
			return nil
		}
	}
	return nil
}

func (r *run) sha256Of(ctx context.Context, f *inputFile) (string, error) {
	file, err := r.opt.Inputs.Open(f.full)
	if err != nil {
		return "", &inputError{fmt.Errorf("input %s: %w", f.full, err)}
	}
	defer file.Close()
	var hashes []string
	for _, part := range f.ranges() {
		h := sha256.New()
		for at := part.From; at < part.To; {
			n, err := io.CopyN(h, file, min(16<<20, part.To-at))
			if at += n; err == io.EOF {
				break // it is shorter now, and another file
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return "", err
			}
			r.event(Event{Kind: "progress", Stage: inputStage, Task: f.source + ":" + f.identity.Path, Unit: "bytes",
				Done: float64(at), Total: float64(f.identity.Bytes), Note: f.place + " has another time; is it the same?"})
		}
		hashes = append(hashes, hex.EncodeToString(h.Sum(nil)))
	}
	if f.ranged() {
		return sumOfRanges(hashes), nil
	}
	return hashes[0], nil
}
