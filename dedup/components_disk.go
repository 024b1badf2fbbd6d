package dedup

import (
	"errors"
	"fmt"
	"path/filepath"

	"bzdata/pipeline/spill"
)

// DiskComponents is [Components] for more documents than fit into memory. It gives the same
// groups, from pairs that are sorted on disk: node reduction (Sibeyn, "External Connected
// Components", 2004) over ranges of documents in place of single ones.
//
// The documents are cut into ranges of as many as fit, and each range is visited twice:
//
//   - from the last range to the first, with the pairs whose higher document it has. The
//     groups that these make in the range hang on one document of an earlier range, the lowest
//     that a pair names. What the others say, that two earlier documents belong together, goes
//     on as a pair of these; so the earlier documents are connected as they were.
//   - from the first range to the last. The document that a group hangs on has its name by
//     then, and tells it.
//
// Every pair read leaves one at most, of earlier documents. So a pair is written once for each
// range before its own at worst, and about ln r times for r ranges where pairs are of any
// documents, since what is left of it names one of any range before. What hangs on others, and
// names, are written once for each document.
type DiskComponents struct {
	opt   spill.Options
	n     uint64 // documents
	size  uint64 // of a range
	made  int    // files and folders so far
	added *spill.Sorter

	// Files that the visits of ranges leave. Those of pairs and asks have a part for each range
	// before the one that left them, those of tells for each behind it.
	pairs []string // the higher document, and the lower
	asks  []string // the document that a group hangs on, and the lowest of the group
	tells []string // the lowest document of a group, and its name
	links []string // by range: a document, and one of its group that is not higher

	from uint64   // the first document of the range at hand
	link []uint64 // of its documents: one of the same group, the document itself at least
	next int      // the range that Find comes to
}

// linkBytes is what a document of the range at hand takes.
const linkBytes = 8

// NewDiskComponents returns n documents, each a group of its own. All that it holds is within
// the budget of opt: one half for the range at hand, the other for sorting.
func NewDiskComponents(n int, opt spill.Options) *DiskComponents {
	c := &DiskComponents{opt: opt, n: uint64(n), size: uint64(max(1, opt.Bytes/2/linkBytes))}
	c.links = make([]string, (c.n+c.size-1)/c.size)
	c.added = spill.NewSorter(c.part(2))
	return c
}

// Ranges is the number of ranges.
func (c *DiskComponents) Ranges() int { return len(c.links) }

// Union joins the groups of two documents. It must not be called after [DiskComponents.Join].
func (c *DiskComponents) Union(a, b int) error {
	if a == b {
		return nil
	}
	return c.added.Add(&spill.Record{Key: uint64(max(a, b)), Number: uint64(min(a, b))})
}

// Join works the groups out. It calls progress with the number of ranges that are done.
func (c *DiskComponents) Join(progress func(ranges int)) error {
	if err := c.keep(&c.pairs, c.added, c.Ranges()); err != nil {
		return err
	}
	c.link = make([]uint64, 0, min(c.size, c.n))
	for i := c.Ranges() - 1; i >= 0; i-- {
		if err := c.reduce(i); err != nil {
			return err
		}
		progress(c.Ranges() - i)
	}
	for _, name := range c.pairs {
		if err := c.opt.FS.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// reduce is the first visit of a range.
func (c *DiskComponents) reduce(i int) error {
	c.enter(i)
	rest := spill.NewSorter(c.part(8))
	err := c.read(c.pairs, i, func(r *spill.Record) error { return c.join(r.Number, r.Key, rest) })
	if err = errors.Join(err, c.keep(&c.pairs, rest, i)); err != nil {
		return err
	}
	asks := spill.NewSorter(c.part(8))
	c.links[i], err = c.write(1, func(w *spill.Writer) error {
		for at := range c.link {
			doc := c.from + uint64(at)
			if on := c.link[at]; on < c.from {
				if err := asks.Add(&spill.Record{Key: on, Number: doc}); err != nil {
					return err
				}
			}
			if err := w.Write(0, &spill.Record{Key: doc, Number: c.find(doc)}); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, c.keep(&c.asks, asks, i))
}

// enter makes each document of a range a group of its own.
func (c *DiskComponents) enter(i int) {
	c.from = uint64(i) * c.size
	c.link = c.link[:min(c.size, c.n-c.from)]
	for at := range c.link {
		c.link[at] = c.from + uint64(at)
	}
}

// find returns the lowest document of the range that is in the group of one, as
// [Components.Find] does; only that one may hang on an earlier range.
func (c *DiskComponents) find(doc uint64) uint64 {
	for {
		on := &c.link[doc-c.from]
		if *on < c.from || *on == doc {
			return doc
		}
		if further := c.link[*on-c.from]; further >= c.from {
			*on = further
		}
		doc = *on
	}
}

// join joins the groups of two documents, the higher one of the range.
func (c *DiskComponents) join(lower, higher uint64, rest *spill.Sorter) error {
	root := c.find(higher)
	if lower < c.from {
		return c.hang(root, lower, rest)
	}
	other := c.find(lower)
	if other == root {
		return nil
	}
	low, high := min(root, other), max(root, other)
	on := c.link[high-c.from]
	c.link[high-c.from] = low
	if on >= c.from {
		return nil
	}
	return c.hang(low, on, rest)
}

// hang lets a group hang on a document of an earlier range. If it does on another, the two
// are a pair for that range.
func (c *DiskComponents) hang(root, on uint64, rest *spill.Sorter) error {
	link := &c.link[root-c.from]
	before := *link
	*link = min(before, on)
	if before >= c.from || before == on {
		return nil
	}
	return rest.Add(&spill.Record{Key: max(before, on), Number: min(before, on)})
}

// Find returns the lowest document of the group of one, after [DiskComponents.Join].
// Documents are asked for in rising order.
func (c *DiskComponents) Find(doc int) (int, error) {
	for c.next == 0 || uint64(doc)-c.from >= uint64(len(c.link)) {
		if err := c.name(c.next); err != nil {
			return 0, err
		}
		c.next++
	}
	return int(c.link[uint64(doc)-c.from]), nil
}

// name is the second visit of a range: link becomes the names of its documents.
func (c *DiskComponents) name(i int) error {
	c.enter(i)
	set := func(r *spill.Record) error {
		c.link[r.Key-c.from] = r.Number
		return nil
	}
	if err := c.read(c.links[i:i+1], 0, set); err != nil {
		return err
	}
	if err := c.read(c.tells, i, set); err != nil {
		return err
	}
	for at, on := range c.link { // those before in the range have their names
		if on >= c.from {
			c.link[at] = c.link[on-c.from]
		}
	}
	tells := spill.NewSorter(c.part(8))
	err := c.read(c.asks[:c.Ranges()-1-i], i, func(r *spill.Record) error {
		return tells.Add(&spill.Record{Key: r.Number, Number: c.link[r.Key-c.from]})
	})
	return errors.Join(err, c.keep(&c.tells, tells, c.Ranges()))
}

// part is the options for something that may hold one of so many parts of the budget.
func (c *DiskComponents) part(of int64) spill.Options {
	opt := c.opt
	opt.Bytes, opt.Dir = opt.Bytes/of, c.newName()
	return opt
}

func (c *DiskComponents) newName() string {
	c.made++
	return filepath.Join(c.opt.Dir, fmt.Sprintf("%06d", c.made))
}

// read calls visit with what files have for a range.
func (c *DiskComponents) read(files []string, i int, visit func(r *spill.Record) error) error {
	parts := make([]spill.Part, len(files))
	for at, name := range files {
		parts[at] = spill.Part{Name: name, Index: i}
	}
	merged := spill.NewMerged(c.part(8), parts)
	return errors.Join(merged.Each(visit), merged.Close())
}

// keep writes what was sorted to a file with parts for the first ranges, by key; what is there
// several times is written once.
func (c *DiskComponents) keep(files *[]string, sorted *spill.Sorter, ranges int) error {
	name, err := c.write(ranges, func(w *spill.Writer) error {
		var last spill.Record // no record is about document 0 alone
		return sorted.Each(func(r *spill.Record) error {
			if r.Key == last.Key && r.Number == last.Number {
				return nil
			}
			last = spill.Record{Key: r.Key, Number: r.Number}
			return w.Write(int(r.Key/c.size), r)
		})
	})
	*files = append(*files, name)
	return errors.Join(err, sorted.Close())
}

// write writes a file of sorted records.
func (c *DiskComponents) write(parts int, write func(w *spill.Writer) error) (string, error) {
	if err := c.opt.FS.MkdirAll(c.opt.Dir); err != nil {
		return "", err
	}
	name := c.newName()
	f, err := c.opt.FS.Create(name)
	if err != nil {
		return "", err
	}
	w := spill.NewWriter(f, parts)
	return name, errors.Join(write(w), w.Close(), f.Close())
}
