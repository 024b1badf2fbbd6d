package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// Publish is the configuration of the publish stage.
type Publish struct {
	To pipeline.Path `yaml:"to" required:"true" doc:"Folder of an object store, s3://BUCKET/PREFIX, that is this data set's own."`
}

func publishSpec() pipeline.Spec[Publish] {
	return pipeline.Spec[Publish]{
		Name: "publish", Version: 1,
		Summary: "Uploads the exported data set to an object store.",
		Doc: code(`
The files of the latest ‹export› are uploaded under their names below ‹to›, and last of all ‹_SUCCESS›, a list
of them with sizes and SHA-256. A reader that waits for ‹_SUCCESS› never sees a part of a set: it is deleted
before anything else changes. Files that are there already are not uploaded again, those of an earlier set
that this one does not have are deleted, and a folder that holds anything else is refused. An ‹export› with
‹to: s3://…› gets this stage by itself. The set under the work directory stays. A later run uploads nothing as
long as the set is the same; ‹--fresh› looks at the object store again.`),
		Example: `
publish:
  to: s3://bucket/sets/math`,
		Takes: []pipeline.Data{pipeline.Dataset},
		New: func(c Publish) (pipeline.Program, error) {
			return pipeline.Program{Run: c.run, SkipsDocuments: true, Uses: uses(pipeline.Dataset)}, nil
		},
	}
}

// Check asks for a place that can be written.
func (c *Publish) Check(at *pipeline.Fields) {
	if l, err := store.ParseLocation(string(c.To)); err == nil && (l.Scheme != "s3" || strings.ContainsAny(l.Path, `*?[\`)) {
		at.Errorf("to", "must be s3://BUCKET/PREFIX")
	} else if err != nil {
		at.Errorf("to", "must be s3://BUCKET/PREFIX: %v", err)
	}
}

// completePublish adds the upload behind each export to an object store.
func completePublish(p *pipeline.Plan) {
	for i := len(p.Stages) - 1; i >= 0; i-- {
		if c, ok := p.Stages[i].Config.(Export); ok && store.IsRemote(c.To) {
			p.Insert(i, publishSpec().Kind(), fmt.Sprintf("to: %q", c.To))
		}
	}
}

// successName is the file that is written last.
const successName = "_SUCCESS"

// publishedFile is one file of the list in _SUCCESS.
type publishedFile struct {
	Name   string `json:"name"` // below the folder, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// publication brings a remote folder to the state of a local one.
type publication struct {
	t       *pipeline.Task
	to      string
	objects store.ObjectStore
	set     string // local
	files   []publishedFile
	there   map[string]string // SHA-256 of the remote files, by name
}

func (c Publish) run(ctx context.Context, t *pipeline.Task) error {
	objects, ok := t.Inputs.(store.ObjectStore)
	if !ok {
		return &pipeline.UsageError{Msg: "publish needs an object store, and this program was started without one"}
	}
	p := &publication{t: t, to: strings.TrimRight(string(c.To), "/"), objects: objects, there: map[string]string{},
		set: filepath.Join(t.Input(pipeline.Dataset), "set")}
	if err := errors.Join(p.local(p.set, ""), ctx.Err()); err != nil {
		return err
	}
	list, err := json.MarshalIndent(map[string]any{"files": p.files}, "", " ")
	if err != nil {
		return err
	}
	if err := t.WriteFile(successName, func(w io.Writer) error { _, err := w.Write(list); return err }); err != nil {
		return err
	}
	sent, err := p.bring(ctx)
	if err == nil {
		t.Figure("published", "%d files at %s, %d of them uploaded", len(p.files), p.to, sent)
	}
	return err
}

// local lists the files of the set with their hashes.
func (p *publication) local(dir, prefix string) error {
	entries, err := p.t.FS.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		full, name := filepath.Join(dir, e.Name()), prefix+e.Name()
		if e.IsDir() {
			if err := p.local(full, name+"/"); err != nil {
				return err
			}
			continue
		}
		info, err := p.t.FS.Stat(full)
		if err != nil {
			return err
		}
		sum, err := pipeline.FileSHA256(p.t.FS, full)
		if err != nil {
			return err
		}
		p.files = append(p.files, publishedFile{name, info.Size(), sum})
	}
	return nil
}

// remote lists what the folder holds, all of which must have been uploaded by this program.
func (p *publication) remote(dir, prefix string) error {
	entries, err := p.objects.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		full, name := store.Join(dir, e.Name()), prefix+e.Name()
		if e.IsDir() {
			if err := p.remote(full, name+"/"); err != nil {
				return err
			}
			continue
		}
		sum, err := p.objects.UploadedSHA256(full)
		if err != nil {
			return err
		}
		if sum == "" {
			return &pipeline.UsageError{Msg: fmt.Sprintf("%s is there, and was not uploaded by this program; "+
				"publish to a folder of its own", full)}
		}
		p.there[name] = sum
	}
	return nil
}

// bring uploads and deletes what differs, and returns how many files were uploaded. Whatever
// point it stopped at before, it goes on from what is there.
func (p *publication) bring(ctx context.Context) (sent int, err error) {
	if err := p.remote(p.to, ""); err != nil {
		return 0, err
	}
	list := filepath.Join(p.t.OutputDir(), successName)
	listSum, err := pipeline.FileSHA256(p.t.FS, list)
	if err != nil {
		return 0, err
	}
	var todo []publishedFile
	stale := map[string]bool{}
	for name := range p.there {
		stale[name] = name != successName
	}
	for _, f := range p.files {
		stale[f.Name] = false
		if p.there[f.Name] != f.SHA256 {
			todo = append(todo, f)
		}
	}
	gone := namesOf(stale)
	if len(todo)+len(gone) == 0 && p.there[successName] == listSum {
		return 0, nil
	}
	if p.there[successName] != "" {
		gone = append([]string{successName}, gone...)
	}
	for _, name := range gone {
		if err := errors.Join(ctx.Err(), p.objects.Remove(store.Join(p.to, name))); err != nil {
			return 0, err
		}
	}
	for i, f := range todo {
		if err := errors.Join(ctx.Err(), p.upload(filepath.Join(p.set, filepath.FromSlash(f.Name)), f)); err != nil {
			return 0, err
		}
		p.t.Progress(float64(i+1), float64(len(todo)), "files")
	}
	info, err := p.t.FS.Stat(list)
	if err != nil {
		return 0, err
	}
	return len(todo), p.upload(list, publishedFile{successName, info.Size(), listSum})
}

// namesOf are the names that are true, sorted.
func namesOf(set map[string]bool) []string {
	var names []string
	for name, in := range set {
		if in {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// upload uploads one file and looks whether it is there.
func (p *publication) upload(local string, f publishedFile) error {
	file, err := p.t.FS.Open(local)
	if err != nil {
		return err
	}
	defer file.Close()
	name := store.Join(p.to, f.Name)
	if err := p.objects.Upload(name, file, f.SHA256); err != nil {
		return err
	}
	sum, err := p.objects.UploadedSHA256(name)
	if err != nil {
		return err
	}
	info, err := p.objects.Stat(name)
	if err == nil && (info.Size() != f.Bytes || sum != f.SHA256) {
		err = fmt.Errorf("%s: %d bytes were uploaded, %d are there; run again", name, f.Bytes, info.Size())
	}
	return err
}
