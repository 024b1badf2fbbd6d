package stages

import (
	"io"
	"path/filepath"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

const (
	// filesLeft is how many files are written at most after the last step, each flushed with its folder: states, the best
	// weights, results and reports of the stages, the bundle, the run's report and records.
	filesLeft = 40
	// copiesLeft is how often the update is written in the network's type: by train, and by bundle in two formats.
	copiesLeft = 3
	// filesTimed are the small files that are timed. The first of all may wait for what others have written.
	filesTimed = 4
	// sampleShare is the share of the bytes that is timed, and the bounds that it has.
	sampleShare, sampleBytesMin, sampleBytesMax = 16, 64 << 10, 64 << 20
	// sampleName is the file in the scratch folder that is timed.
	sampleName = "write-sample"
)

// bytesLeft is what is written at most after the last step: a state, which is the weights that are trained and both
// moments, the best weights, and the update; and the moments once more, if a later window takes them up.
func bytesLeft(m *model.Model, dtype checkpoint.DType, carried bool) int64 {
	n := int64(0)
	for _, p := range m.Params() {
		if p.Trains() {
			n += int64(p.Elements())
		}
	}
	bytes := n*(3*4+4) + copiesLeft*n*int64(dtype.Bits())/8
	if carried {
		bytes += n * 2 * 4
	}
	return bytes
}

// timeSaving is about how long it takes to write what the window is for, once training has ended.
func (c *Train) timeSaving(t *pipeline.Task, m *model.Model) (time.Duration, error) {
	dtype, err := checkpoint.ParseDType(c.DType)
	if err != nil {
		return 0, err
	}
	return timeSaving(t.FS, t.Scratch, bytesLeft(m, dtype, c.carriesMoments(t.Plan)), t.Plan.Window.Now)
}

// timeSaving is about how long it takes to write, flush, hash and read back filesLeft files of so many bytes in all: a
// disk flushes a small file in a tenth of a millisecond or in fifty, and many gigabytes of experts take as long as it
// likes. dir is where a few small files and a part of the bytes are tried.
func timeSaving(fsys store.FS, dir string, bytes int64, now func() time.Time) (time.Duration, error) {
	name := filepath.Join(dir, sampleName)
	small := time.Duration(0)
	for range filesTimed {
		took, err := timeFile(fsys, name, 1, now)
		if err != nil {
			return 0, err
		}
		small += took / filesTimed
	}
	sample := min(max(bytes/sampleShare, sampleBytesMin), sampleBytesMax)
	took, err := timeFile(fsys, name, sample, now)
	if err != nil {
		return 0, err
	}
	perByte := max(0, took-small).Seconds() / float64(sample)
	return filesLeft*small + seconds(perByte*float64(bytes)), fsys.Remove(name)
}

// timeFile times a file of so many bytes.
func timeFile(fsys store.FS, name string, bytes int64, now func() time.Time) (time.Duration, error) {
	start := now()
	err := store.WriteFile(fsys, name, func(w io.Writer) error {
		part := make([]byte, min(bytes, 1<<20))
		for i := range part {
			part[i] = byte(i * i >> 4) // so that a file system that packs finds something to do
		}
		for left := bytes; left > 0; left -= int64(len(part)) {
			if _, err := w.Write(part[:min(left, int64(len(part)))]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, err = pipeline.FileSHA256(fsys, name)
	}
	return now().Sub(start), err
}
