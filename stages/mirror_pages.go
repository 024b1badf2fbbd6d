package stages

import (
	"context"
	"fmt"
	"slices"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
)

// fillPages fetches the pages that validators of the seeds would read, from the server that they ask. Of a data set whose
// text is elsewhere, and of one of which somebody has put files into the mirror, nothing is fetched.
func fillPages(ctx context.Context, hub mirror.Hub, p *network.Profile, f MirrorFill) (*MixExam, []MirrorFilled, error) {
	if f.SourcesFrom != "" {
		return nil, nil, ownSources(p)
	}
	exam, filled := &MixExam{First: f.First, Pages: true}, []MirrorFilled{}
	for _, of := range p.Evaluate.Sources {
		one := MirrorFilled{Source: of.Name, Pages: true}
		why, err := f.fillSource(ctx, hub, of, &one)
		if err != nil {
			return nil, filled, fmt.Errorf("source %s: %w", of.Name, err)
		}
		if why != "" {
			exam.Short = append(exam.Short, why)
		}
		filled = append(filled, one)
	}
	return exam, filled, nil
}

// fillSource fetches the pages of a data set, or says why it has none.
func (f *MirrorFill) fillSource(ctx context.Context, hub mirror.Hub, of network.Source, filled *MirrorFilled) (string, error) {
	s := &pagedSource{Source: of, pages: mirror.Pages{FS: hub, Dir: f.Mirror, Path: of.Path}}
	local, err := s.pages.Local(of.Config)
	switch {
	case err != nil:
		return "", err
	case len(local) > 0:
		return fmt.Sprintf("%s: the files in %s stand in its place; nothing is fetched", of.Name, s.pages.Folder()), nil
	case of.TextAt != "":
		s.absent = s.elsewhere()
		return s.leftOut(), nil
	case of.Config != "":
		s.splits = []mirror.Split{{Config: of.Config, Split: "train"}}
	default:
		if s.splits, err = s.pages.UpdateSplits(hub); err != nil {
			return "", err
		}
	}
	pages, err := f.needed(s)
	if err != nil {
		return "", err
	}
	filled.Files, filled.Needed = len(pages), len(pages)
	short := ""
	if f.FilesMax > 0 && len(pages) > f.FilesMax {
		short = fmt.Sprintf("%s: %d of %d pages are fetched at most, as --files-max says", of.Name, f.FilesMax, len(pages))
		pages = pages[:f.FilesMax]
	}
	for i, page := range pages {
		n, err := s.pages.Fetch(ctx, hub, s.splits[page.Part], page.Offset, network.PageRows)
		if err != nil {
			return "", err
		}
		if filled.Mirrored++; n > 0 {
			filled.Fetched, filled.Bytes = filled.Fetched+1, filled.Bytes+n
		}
		if f.OnPage != nil {
			f.OnPage(of.Name, i+1, len(pages))
		}
	}
	return short, nil
}

// needed are the pages of all seeds, each once.
func (f *MirrorFill) needed(s *pagedSource) (out []network.Page, err error) {
	for i := range f.Seeds {
		seed, err := network.PageSeed(network.CombinedSeed(map[string]uint64{"": f.First + uint64(i)}))
		if err != nil {
			return nil, err
		}
		pages, err := s.draw(seed)
		if err != nil {
			return nil, err
		}
		for _, page := range pages {
			if !slices.Contains(out, page) {
				out = append(out, page)
			}
		}
	}
	return out, nil
}
