package shuffle

import (
	"bufio"
	"errors"
	"slices"
)

// place says where a record's payload lies in the file of a far bucket.
type place struct {
	record Record // without the payload
	at     int64
	size   int
}

const (
	// placeBytes is what a place takes.
	placeBytes = 64
	// farMax is up to how many times [Options].BucketBytes a bucket's payloads stay in its file while
	// they are visited. More would no longer lie in the page cache from the first reading.
	farMax = 16
)

// canBeFar reports whether the places of a bucket, instead of its records, can be sorted in memory.
func (b *bucket) canBeFar() bool {
	return b.count*placeBytes <= b.opt.BucketBytes && b.bytes() <= farMax*b.opt.BucketBytes
}

// visitFar is visit for payloads that stay in the file. Sorting has just read all of it, so that they
// mostly come from the page cache.
func (b *bucket) visitFar(from, to int64, visit func(payload []byte) error) (err error) {
	places, err := b.sortedPlaces()
	if err != nil {
		return err
	}
	f, err := b.opt.FS.Open(b.path())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var buf []byte
	for _, p := range places[from:to] {
		buf = slices.Grow(buf[:0], p.size)[:p.size]
		if _, err := f.ReadAt(buf, p.at); err != nil {
			return b.short(err)
		}
		if err := visit(buf); err != nil {
			return err
		}
	}
	return nil
}

// sortedPlaces returns where the records lie, in their order.
func (b *bucket) sortedPlaces() ([]place, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.places != nil {
		return b.places, nil
	}
	places := make([]place, 0, b.count)
	err := b.scan(func(record Record, at int64, size int, r *bufio.Reader) error {
		places = append(places, place{record, at, size})
		if _, err := r.Discard(size); err != nil {
			return b.short(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(places, func(a, b place) int { return compare(a.record, b.record) })
	b.places = places
	return places, nil
}
