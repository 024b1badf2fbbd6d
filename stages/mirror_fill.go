package stages

import (
	"context"
	"fmt"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/train/checkpoint"
)

// MirrorFill says how a mirror is filled.
type MirrorFill struct {
	MixOptions
	FilesMax int           // of each data set, with those that are there already; 0 is no limit
	Now      func() string // in RFC 3339
	// OnFile is told of each file before it is fetched, and again, with all its bytes, when it is there.
	OnFile func(source string, file mirror.File, bytes int64)
	// OnPage is told of each page that is there, of those that are needed of a data set.
	OnPage func(source string, done, total int)
}

// MirrorFilled is what a mirror holds of a data set.
type MirrorFilled struct {
	Source   string `json:"source"`
	Commit   string `json:"commit,omitempty"` // of the data set, but where single pages are fetched
	Pages    bool   `json:"pages,omitempty"`  // what is counted are pages of rows and not files
	Files    int    `json:"files"`            // of the data set
	Needed   int    `json:"needed"`           // of them, for the rows
	Mirrored int    `json:"mirrored"`         // there
	Fetched  int    `json:"fetched"`          // of them now
	Bytes    int64  `json:"bytes"`            // of those fetched
}

// FillMirror fetches what validators of the seeds would read: it goes through their rows as [OpenMix] does, and
// fetches each file when the rows come to it, so that no file is fetched that no row is in. The exam that it
// returns has no sequences.
func FillMirror(ctx context.Context, hub mirror.Hub, p *network.Profile, f MirrorFill) (*MixExam, []MirrorFilled, error) {
	if p.Evaluate.Paged() {
		return fillPages(ctx, hub, p, f)
	}
	if err := mixable(p, f.SourcesFrom); err != nil {
		return nil, nil, err
	}
	config, err := checkpoint.ReadGroupConfig(hub, f.SourcesFrom)
	if err != nil {
		return nil, nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", f.SourcesFrom, err), Err: err}
	}
	sets, err := mirror.SourcesOf(config.Data)
	if err != nil {
		return nil, nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", f.SourcesFrom, err), Err: err}
	}
	folder, err := mirror.OpenFolder(hub, hub, f.Mirror, f.Now)
	if err != nil {
		return nil, nil, err
	}
	m := &mirroring{MirrorFill: f, ctx: ctx, folder: folder, used: map[mixPlace]bool{}}
	f.sources = &mixSources{of: sets}
	for _, s := range sets {
		listed, err := folder.Update(s.Source)
		if err != nil {
			return nil, nil, fmt.Errorf("source %s: %w", s.Label, err)
		}
		m.sets, m.filled = append(m.sets, listed), append(m.filled, MirrorFilled{Source: s.Label, Commit: listed.Commit,
			Files: len(listed.Files)})
		var names []string
		for _, file := range listed.Files {
			names = append(names, file.Name)
		}
		f.sources.names, f.sources.files = append(f.sources.names, names), append(f.sources.files, make([]string, len(names)))
	}
	exam, err := ChooseMix(ctx, hub, p, f.MixOptions, m.fetch)
	for i, set := range m.sets {
		for k := range set.Files {
			if folder.Has(set, k) {
				m.filled[i].Mirrored++
			}
		}
	}
	return exam, m.filled, err
}

// mirroring is the filling of a mirror under way.
type mirroring struct {
	MirrorFill
	ctx    context.Context
	folder *mirror.Folder
	sets   []*mirror.Mirrored
	filled []MirrorFilled
	used   map[mixPlace]bool // files
}

// fetch makes a file be there, and returns where it is: "" if no more files of the source may be fetched.
func (m *mirroring) fetch(source, file int) (string, error) {
	set, filled := m.sets[source], &m.filled[source]
	if at := (mixPlace{source: source, file: file}); !m.used[at] {
		if m.FilesMax > 0 && filled.Needed == m.FilesMax {
			return "", nil
		}
		m.used[at] = true
		filled.Needed++
	}
	place := set.Place(m.folder.Dir, file)
	if m.folder.Has(set, file) {
		return place, nil
	}
	tell := func(n int64) {
		if m.OnFile != nil {
			m.OnFile(filled.Source, set.Files[file], n)
		}
	}
	tell(0)
	if err := m.folder.Fetch(m.ctx, set, file, tell); err != nil {
		return "", fmt.Errorf("source %s: %w", filled.Source, err)
	}
	filled.Fetched++
	filled.Bytes += set.Files[file].Bytes
	return place, nil
}
