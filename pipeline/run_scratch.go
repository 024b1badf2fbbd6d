package pipeline

import (
	"fmt"
	"path/filepath"

	"bzdata/pipeline/store"
)

// What of the disk a run takes is estimated from the plan and the sizes of the input files,
// since documents are counted only as they are read. The shares were measured on composed
// word problems and on web text.
const (
	// storedShare is the stored documents' size for a byte of plain input, and plainShare the same
	// where they are not compressed.
	storedShare = 0.6
	plainShare  = 1.1
	// unzippedShare is how many bytes of text are in a byte of a compressed file, and of Parquet.
	unzippedShare = 4
	// documentBytes is the length of a document for which pass records are estimated.
	documentBytes = 1 << 10
)

// plainTextBytes is the size of all input from which stored documents are compressed. What is
// smaller has room in any machine's memory, between the program and the disk, and compressing it
// takes more time than writing it.
const plainTextBytes = 1 << 30

// storesPlain reports whether documents are stored as they are. It is of no consequence to what is
// read, and so in no key.
func (r *run) storesPlain() bool { return r.textBytes() < plainTextBytes }

// Scratch is an estimate of what a run writes to its disk.
type Scratch struct {
	// Bytes is about what the tasks that are still to run write, temporary files included.
	Bytes int64 `json:"scratch_bytes"`
	// Free is what is free on the disk of the work directory, or -1 if that is not known.
	Free int64 `json:"free_bytes"`
}

// plainBytes estimates how much text is in so many bytes of a file.
func plainBytes(name string, bytes int64) int64 {
	format, err := store.FormatOf(name)
	if err == nil && (format.Layout == store.Parquet || store.CompressionOf(name) != store.Plain) {
		return unzippedShare * bytes
	}
	return bytes
}

// textBytes estimates how much text all input files hold, as far as limits let them be read.
func (r *run) textBytes() int64 {
	sum, byEntry := int64(0), map[int]int64{}
	for _, f := range r.inputs {
		bytes := plainBytes(f.full, f.identity.Bytes)
		if f.limit >= 0 {
			byEntry[f.entry] += bytes
			bytes = max(0, min(bytes, f.limit*documentBytes-byEntry[f.entry]+bytes))
		}
		sum += bytes
	}
	return sum
}

// scratch estimates what the tasks that are not done yet write. Of their temporary files, those
// of the tasks at work at one time are there together.
func (r *run) scratch() Scratch {
	s := Scratch{Free: -1}
	share := 1.0 // of the text that limits leave
	whole := int64(0)
	for _, f := range r.inputs {
		whole += plainBytes(f.full, f.identity.Bytes)
	}
	if whole > 0 {
		share = float64(r.textBytes()) / float64(whole)
	}
	temporary := int64(0)
	for _, w := range r.waves {
		for _, n := range w.nodes {
			if store.Exists(r.opt.FS, filepath.Join(n.dir(), reportName)) {
				continue
			}
			text := share * float64(plainBytes(n.file, n.bytes))
			if n.shard < 0 {
				text = float64(r.textBytes())
			}
			s.Bytes += int64(n.writes * text)
			temporary = max(temporary, int64(n.spills*text))
		}
	}
	s.Bytes += temporary * int64(r.tasksMax())
	if free, ok := r.opt.FS.(store.FreeSpacer); ok {
		if n, err := free.FreeBytes(existing(r.opt.FS, r.opt.Workdir)); err == nil {
			s.Free = n
		}
	}
	return s
}

// existing returns the folder, or the first above it that is there.
func existing(fsys store.FS, dir string) string {
	for !store.Exists(fsys, dir) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
	}
	return dir
}

// Missing is how much too little is free, or 0.
func (s Scratch) Missing() int64 {
	if s.Free < 0 {
		return 0
	}
	return max(0, s.Bytes-s.Free)
}

// checkScratch returns an error if the run would most likely fill its disk.
func (r *run) checkScratch() error {
	s := r.scratch()
	if s.Missing() == 0 {
		return nil
	}
	return &DiskError{Workdir: r.opt.Workdir,
		what: fmt.Sprintf("the run is expected to write %s there and %s are free: %s are missing",
			aboutSize(s.Bytes), aboutSize(s.Free), aboutSize(s.Missing())),
		remedy: "free that much"}
}

// aboutSize writes a size for people, rounded up.
func aboutSize(bytes int64) string {
	if bytes >= 10<<30 {
		return fmt.Sprintf("%d GiB", (bytes+1<<30-1)>>30)
	}
	return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20)
}
