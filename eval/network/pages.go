package network

import (
	"fmt"
	"math/big"
	"slices"
)

// PageRows are the rows of a page, which a validator of Subnet 9 asks the hub's datasets server for.
const PageRows = 50

// pagesAlike is after how many pages that were drawn before a validator asks for no more.
const pagesAlike = 100

// Page is a run of [PageRows] rows of a data set.
type Page struct {
	Part   int   // configuration, by its index
	Offset int64 // of the first row
}

// Paged reports whether validators read pages of rows, instead of files from their beginning.
func (e Evaluate) Paged() bool {
	return slices.ContainsFunc(e.Sources, func(s Source) bool { return s.Pages > 0 })
}

// PageSeed is the number that a seed in hexadecimal digits, such as [CombinedSeed] gives, stands for. Validators of
// Subnet 9 take that of the SHA-256 of a block's hash.
func PageSeed(digits string) (*big.Int, error) {
	n, ok := new(big.Int).SetString(digits, 16)
	if !ok {
		return nil, fmt.Errorf("seed %q is not hexadecimal", digits)
	}
	return n, nil
}

// DrawPages draws the pages of a data set that a validator reads: by random.randint(1, RowsMax) where the source has
// RowsMax; otherwise each from a configuration that random.choice picks, of whose numbers of rows rows is the list, at a
// multiple of [PageRows] from an offset that is drawn once, and none twice. Requests that fail, after which a
// validator draws once more, are not imitated.
// Source: macrocosm-os/pretraining v6, pretrain/dataset.py, SubsetLoader and SubsetFineWebEdu2Loader.
func (s Source) DrawPages(seed *big.Int, rows []int64) ([]Page, error) {
	random := newMersenne(seed)
	var out []Page
	if s.RowsMax > 0 {
		for range s.Pages {
			out = append(out, Page{Offset: 1 + int64(random.below(uint64(s.RowsMax)))})
		}
		return out, nil
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no configuration to draw pages of", s.Name)
	}
	first := int64(random.below(PageRows))
	for alike := 0; len(out) < s.Pages && alike < pagesAlike; {
		part := int(random.below(uint64(len(rows))))
		pages := (rows[part] - first + 1) / PageRows
		if pages < 1 {
			return nil, fmt.Errorf("%s: configuration %d has %d rows, too few for a page from row %d", s.Name, part,
				rows[part], first)
		}
		page := Page{part, first + PageRows*int64(random.below(uint64(pages)))}
		if slices.Contains(out, page) {
			alike++
			continue
		}
		out = append(out, page)
	}
	return out, nil
}

// ShuffleBatches calls swap as a validator shuffles the batches of a data set, before it takes the first ones:
// random.Random(seed).shuffle.
func ShuffleBatches(seed *big.Int, n int, swap func(i, j int)) { newMersenne(seed).shuffle(n, swap) }
