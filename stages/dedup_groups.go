package stages

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
)

// clusterBytes is what grouping in memory holds for each document that shares a band with
// another: its record number and its place in the group.
const clusterBytes = 12

// groupShare says what part of the memory budget grouping may take, a half: while it runs,
// nothing else does.
const groupShare = 2

// groupCandidates finds the connected groups of documents that share bands, directly or
// through others: in memory if they fit, otherwise on disk, with the same result. What one
// group decides has no influence on another.
func (c MinHash) groupCandidates(ctx context.Context, t *pipeline.Task) error {
	shards := t.ShardCount() + len(againstFiles(t, c.Against))
	g, err := readCandidateRecords(t, shards)
	if err != nil {
		return err
	}
	if g == nil {
		return groupOnDisk(ctx, t, shards)
	}
	g.groups = dedup.NewComponents(g.len())
	first := 0
	err = eachMember(ctx, t, func(begins bool, shard uint32, record uint64) error {
		n, err := g.number(shard, record)
		if begins {
			first = n
		}
		g.groups.Union(first, n)
		return err
	})
	if err != nil {
		return err
	}
	t.Figure("candidates", "%d documents share a band with another; grouping them took %s",
		g.len(), report.Size(int64(g.len())*clusterBytes))
	return writeGroups(t, shards, g.each)
}

// eachMember calls visit with the documents of each band, one band after the other.
func eachMember(ctx context.Context, t *pipeline.Task, visit visitMember) error {
	for _, dir := range t.BarrierDirs() {
		name := filepath.Join(dir, bucketsName)
		if err := eachMemberOf(ctx, t.FS, name, visit); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func eachMemberOf(ctx context.Context, fsys store.FS, name string, visit visitMember) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, memberBytes<<12)
	for at := int64(0); at < f.Size(); at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), f.Size()-at)]
		if n, err := f.ReadAt(buf, at); n < len(buf) {
			return err
		}
		for b := buf; len(b) >= memberBytes; b = b[memberBytes:] {
			if err := visit(b[0] == 1, binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint64(b[5:])); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// visitMember sees a document of a band; begins says that it is the first one.
type visitMember func(begins bool, shard uint32, record uint64) error

// visitGrouped sees a candidate and the place of the lowest of its group among all candidates.
type visitGrouped func(shard int, record uint64, lowest int) error

// writeGroups writes each candidate with the key of its group. Keys are spread evenly, so that
// partitions of groups are of like size.
func writeGroups(t *pipeline.Task, shards int, each func(visit visitGrouped) error) error {
	return t.WriteFile(groupsName, func(w io.Writer) error {
		parts := pipeline.NewShardPartsWriter(w)
		var b []byte
		err := each(func(shard int, record uint64, lowest int) error {
			b = binary.BigEndian.AppendUint64(b[:0], record)
			b = binary.BigEndian.AppendUint64(b, dedup.Spread(uint64(lowest)))
			return parts.Write(shard, b)
		})
		if err != nil {
			return err
		}
		return parts.Close(shards)
	})
}

// candidateGroups are the documents that share a band, by shard and record, and their groups.
type candidateGroups struct {
	records [][]uint64 // by shard, sorted
	before  []int      // by shard: the number of candidates in the shards before
	groups  *dedup.Components
}

func (g *candidateGroups) len() int { return g.before[len(g.records)] }

// readCandidateRecords collects the candidates' record numbers. It returns nil if they do not
// fit into memory.
func readCandidateRecords(t *pipeline.Task, shards int) (*candidateGroups, error) {
	g := &candidateGroups{before: []int{0}}
	var all []uint64
	for shard := range shards {
		all = all[:0]
		for _, dir := range t.BarrierDirs() {
			block, err := pipeline.ReadShardPart(t.FS, filepath.Join(dir, candidatesName), shard)
			if err != nil {
				return nil, err
			}
			for ; len(block) >= candidateBytes; block = block[candidateBytes:] {
				all = append(all, binary.BigEndian.Uint64(block))
			}
		}
		slices.Sort(all)
		g.records = append(g.records, slices.Clone(slices.Compact(all)))
		g.before = append(g.before, g.before[shard]+len(g.records[shard]))
		if int64(g.len())*clusterBytes > t.MemoryBytes/groupShare {
			return nil, nil
		}
	}
	return g, nil
}

// number is a document's place among all candidates.
func (g *candidateGroups) number(shard uint32, record uint64) (int, error) {
	if int(shard) < len(g.records) {
		if i, ok := slices.BinarySearch(g.records[shard], record); ok {
			return g.before[shard] + i, nil
		}
	}
	return 0, fmt.Errorf("document %d:%d shares a band and is no candidate", shard, record)
}

func (g *candidateGroups) each(visit visitGrouped) error {
	for shard, records := range g.records {
		for i, record := range records {
			if err := visit(shard, record, g.groups.Find(g.before[shard]+i)); err != nil {
				return err
			}
		}
	}
	return nil
}
