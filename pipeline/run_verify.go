package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"

	"bzdata/pipeline/store"

	"github.com/zeebo/xxh3"
)

// Check is one thing that verification looked at.
type Check struct {
	What  string `json:"what"`
	Fault string `json:"fault,omitempty"` // empty if all is well
}

// VerifyRun checks everything that a work directory holds against what was recorded:
// every file of every task by size and hash, the balance of every ledger, and the
// links under out/. It returns one entry for each task and link.
func VerifyRun(fsys store.FS, workdir string) ([]Check, error) {
	rec, err := ReadRecord(fsys, workdir)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, &UsageError{Msg: fmt.Sprintf("%s holds no run; name the folder that bzdata run wrote", workdir)}
	}
	var checks []Check
	for _, t := range rec.Tasks {
		if t.Done {
			c := Check{What: fmt.Sprintf("stage %s, %s", t.Stage, t.Name)}
			if err := verifyTask(fsys, workdir, t.Key); err != nil {
				c.Fault = err.Error()
			}
			checks = append(checks, c)
		}
	}
	links, err := verifyLinks(fsys, workdir)
	return append(checks, links...), err
}

func verifyTask(fsys store.FS, workdir string, key Key) error {
	report, err := TaskReportOf(fsys, workdir, key)
	if err != nil {
		return fmt.Errorf("its report cannot be read: %w; run the plan again", err)
	}
	dir := filepath.Join(workdir, "stages", string(key))
	for _, o := range report.Outputs {
		if err := verifyOutput(fsys, filepath.Join(dir, filepath.FromSlash(o.Name)), o); err != nil {
			return err
		}
	}
	for _, l := range report.Ledgers {
		if err := l.Check(); err != nil {
			return err
		}
	}
	return nil
}

func verifyOutput(fsys store.FS, name string, o Output) error {
	f, err := fsys.Open(name)
	if err != nil {
		return fmt.Errorf("%w; run the plan again", err)
	}
	defer f.Close()
	h := &hashingWriter{w: io.Discard, h: xxh3.New()}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if h.n != o.Bytes {
		return fmt.Errorf("%s has %d bytes, recorded were %d; run the plan again", name, h.n, o.Bytes)
	}
	if sum := h.sum(); sum != o.Hash {
		return fmt.Errorf("%s was changed: its hash is %s, recorded was %s; run the plan again", name, sum, o.Hash)
	}
	return nil
}

func verifyLinks(fsys store.FS, workdir string) ([]Check, error) {
	links, err := taskLinks(fsys, workdir)
	if err != nil {
		return nil, err
	}
	var checks []Check
	for _, l := range links {
		c := Check{What: "out/" + l.name}
		if !store.Exists(fsys, filepath.Join(workdir, "out", l.name)) {
			c.Fault = "leads nowhere; run the plan again"
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// FileSHA256 is the hash of a file, in hexadecimal.
func FileSHA256(fsys store.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
