package pipeline

import (
	"fmt"
	"io"
	"math/bits"

	"bzdata/pipeline/spill"
)

// Record is one message from a pass to its barrier.
type Record struct {
	Key     uint64
	Ref     Ref
	Payload []byte
}

// spilled is the record as it is sorted.
func (r Record) spilled() spill.Record {
	return spill.Record{Key: r.Key, Shard: r.Ref.Shard, Number: r.Ref.Record, Payload: r.Payload}
}

func recordOf(r *spill.Record) Record { return Record{r.Key, Ref{r.Shard, r.Number}, r.Payload} }

// partOf cuts the key space into equal ranges.
func partOf(key uint64, parts int) int {
	hi, _ := bits.Mul64(key, uint64(parts))
	return int(hi)
}

// recordBytes is what a record costs in memory beside its payload.
const recordBytes = 48

// writeExchange writes what one task sent to one barrier, sorted and cut into parts.
func writeExchange(w io.Writer, sent *spill.Sorter, parts int) error {
	x := spill.NewWriter(w, parts)
	if err := sent.Each(func(r *spill.Record) error { return x.Write(partOf(r.Key, parts), r) }); err != nil {
		return err
	}
	return x.Close()
}

// BudgetError says that a task needs more memory than --memory allows.
type BudgetError struct {
	What  string
	Stage string
	Bytes int64 // the budget

	others bool // held some of it
}

// Error names the stage and what to do.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("stage %s: %s need more than the memory budget of %d bytes; raise --memory",
		e.Stage, e.What, e.Bytes)
}

// Partition is what a Reduce sees of an exchange: the records of one key range, sorted by
// (key, payload, document). It is merged from files as it is read, and may be read several
// times.
type Partition struct {
	Index, Parts int

	merged *spill.Merged
	task   *Task
}

// tellEvery is after how many records a partition tells how far it is.
const tellEvery = 1 << 12

// Each calls visit with every record, in order. The payload is valid until visit returns.
func (p *Partition) Each(visit func(r Record) error) error {
	n := uint64(0)
	return p.merged.Each(func(r *spill.Record) error {
		if n++; n%tellEvery == 0 {
			p.task.node.advance(float64(n) / float64(p.merged.Total()))
		}
		return visit(recordOf(r))
	})
}

// Groups calls visit with each run of records of equal key, in order. The group and its
// payloads are valid until visit returns. A group that is larger than the memory budget is a
// [*BudgetError].
func (p *Partition) Groups(visit func(group []Record) error) error {
	return groups(p.task.held, p.Each, visit)
}

// groups gathers the records that each gives into groups of equal keys.
func groups(held *account, each func(visit func(r Record) error) error, visit func(group []Record) error) error {
	g := group{held: held}
	err := each(func(r Record) error {
		if len(g.records) > 0 && g.records[0].Key != r.Key {
			if err := visit(g.records); err != nil {
				return err
			}
			g.records, g.payloads = g.records[:0], g.payloads[:0]
		}
		return g.add(r)
	})
	if err != nil || len(g.records) == 0 {
		return err
	}
	return visit(g.records)
}

// group holds the records of one key.
type group struct {
	held     *account
	taken    int64 // of held, for the largest group so far
	records  []Record
	payloads []byte
}

func (g *group) add(r Record) error {
	start := len(g.payloads)
	g.payloads = append(g.payloads, r.Payload...) // those before keep pointing to where they were
	r.Payload = g.payloads[start:len(g.payloads):len(g.payloads)]
	g.records = append(g.records, r)
	if more := int64(2*len(g.payloads)+recordBytes*len(g.records)) - g.taken; more > 0 {
		g.taken += more
		if err := g.held.take(more); err != nil {
			return fmt.Errorf("%d records of one key: %w", len(g.records), err)
		}
	}
	return nil
}
