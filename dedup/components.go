package dedup

// Components keeps the connected groups of the documents 0..n-1 while pairs are joined
// in any order (union-find with path halving: Tarjan and van Leeuwen 1984). It takes 4
// bytes per document. A group is called by its lowest member, so that names do not
// depend on the order of joining.
type Components struct {
	parent []uint32
}

// NewComponents returns n documents, at most 2^32, each a group of its own.
func NewComponents(n int) *Components {
	c := &Components{parent: make([]uint32, n)}
	for i := range c.parent {
		c.parent[i] = uint32(i)
	}
	return c
}

// Find returns the lowest member of the group of a document.
func (c *Components) Find(doc int) int {
	i := uint32(doc)
	for c.parent[i] != i {
		c.parent[i] = c.parent[c.parent[i]]
		i = c.parent[i]
	}
	return int(i)
}

// Union joins the groups of two documents.
func (c *Components) Union(a, b int) {
	ra, rb := c.Find(a), c.Find(b)
	c.parent[max(ra, rb)] = uint32(min(ra, rb))
}

// Groups returns the groups of at least sizeMin documents, ascending by lowest member;
// the members of a group ascend too.
func (c *Components) Groups(sizeMin int) [][]int {
	sizes := c.sizes()
	place := map[int]int{} // of a lowest member: its group in out
	var out [][]int
	for doc := range c.parent {
		root := c.Find(doc)
		if sizes[root] < sizeMin {
			continue
		}
		if root == doc { // the lowest member comes first
			place[root] = len(out)
			out = append(out, make([]int, 0, sizes[root]))
		}
		out[place[root]] = append(out[place[root]], doc)
	}
	return out
}

// Histogram returns how many groups there are of each size, ascending by size.
func (c *Components) Histogram() []SizeCount {
	var sizes []int
	for _, n := range c.sizes() {
		if n > 0 {
			sizes = append(sizes, n)
		}
	}
	return histogram(sizes)
}

// sizes returns the size of each group at the place of its lowest member.
func (c *Components) sizes() []int {
	sizes := make([]int, len(c.parent))
	for doc := range c.parent {
		sizes[c.Find(doc)]++
	}
	return sizes
}
