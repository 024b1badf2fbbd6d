package stages

import (
	"context"
	"encoding/binary"
	"errors"

	"bzdata/dedup"
	"bzdata/pipeline"
)

// diskGroups are candidateGroups that do not fit into memory.
type diskGroups struct {
	members *pipeline.Sorter // documents of bands: by shard and record; the band's number
	bands   *pipeline.Sorter // by the band's number: the document's place among all candidates
	groups  *dedup.DiskComponents
}

// groupOnDisk does what groupCandidates is to do within any budget: it sorts the documents of
// the bands by document, which gives each candidate its place, and back by band, and joins
// places on disk.
func groupOnDisk(ctx context.Context, t *pipeline.Task, shards int) error {
	g := &diskGroups{members: t.Sorter(), bands: t.Sorter()}
	n, err := g.places(ctx, t)
	if err != nil {
		return err
	}
	g.groups = dedup.NewDiskComponents(n, t.SpillOptions(t.MemoryBytes/groupShare/2))
	if err := g.join(t); err != nil {
		return err
	}
	t.Figure("candidates", "%d documents share a band with another; too many for --memory, they were grouped on disk in %d parts",
		n, g.groups.Ranges())
	return errors.Join(writeGroups(t, shards, g.each), g.members.Close())
}

// places fills the sorters, and returns the number of candidates.
func (g *diskGroups) places(ctx context.Context, t *pipeline.Task) (n int, err error) {
	band := uint64(0)
	var payload []byte
	err = eachMember(ctx, t, func(begins bool, shard uint32, record uint64) error {
		if begins {
			band++
		}
		payload = binary.BigEndian.AppendUint64(payload[:0], record)
		return g.members.Add(pipeline.Record{Key: uint64(shard), Payload: payload, Ref: pipeline.Ref{Record: band}})
	})
	if err != nil {
		return 0, err
	}
	err = g.eachMember(func(place int, _ bool, m pipeline.Record) error {
		n = place + 1
		return g.bands.Add(pipeline.Record{Key: m.Ref.Record, Ref: pipeline.Ref{Record: uint64(place)}})
	})
	return n, err
}

// eachMember calls visit with the members sorted by document, and the document's place; first
// says that the member is the first of its document.
func (g *diskGroups) eachMember(visit func(place int, first bool, m pipeline.Record) error) error {
	place, shard, record := -1, uint64(0), uint64(0)
	return g.members.Each(func(m pipeline.Record) error {
		r := binary.BigEndian.Uint64(m.Payload)
		first := place < 0 || m.Key != shard || r != record
		if first {
			place, shard, record = place+1, m.Key, r
		}
		return visit(place, first, m)
	})
}

// join unites the documents of each band.
func (g *diskGroups) join(t *pipeline.Task) error {
	band, first := uint64(0), 0 // bands count from 1
	err := g.bands.Each(func(m pipeline.Record) error {
		place := int(m.Ref.Record)
		if m.Key != band {
			band, first = m.Key, place
		}
		return g.groups.Union(first, place)
	})
	if err := errors.Join(err, g.bands.Close()); err != nil {
		return err
	}
	parts := float64(g.groups.Ranges())
	return g.groups.Join(func(done int) { t.Progress(float64(done), parts, "parts") })
}

func (g *diskGroups) each(visit visitGrouped) error {
	return g.eachMember(func(place int, first bool, m pipeline.Record) error {
		if !first {
			return nil
		}
		lowest, err := g.groups.Find(place)
		if err != nil {
			return err
		}
		return visit(int(m.Key), binary.BigEndian.Uint64(m.Payload), lowest)
	})
}
