package pipeline

import (
	"maps"
	"slices"
)

// uses finds the latest outputs that a stage reads.
func (b *builder) uses(p Program) map[Data]*node {
	uses := map[Data]*node{}
	if p.Uses == nil {
		return uses
	}
	for _, kind := range p.Uses(b.plan) {
		if n := b.latest[kind]; n != nil {
			uses[kind] = n
		}
	}
	return uses
}

// barrierOf is what a barrier's tasks see beside records.
type barrierOf struct {
	reads   readSet
	before  []*node // the stage's barrier before
	uses    map[Data]*node
	kernels bool
}

// equip gives a task of a barrier what it sees.
func (o barrierOf) equip(n *node, barrier []*node) {
	n.files, n.pinned, n.heldOut, n.barrier = o.reads.files, o.reads.pinned, o.reads.heldOut, barrier
	n.uses, n.kernels = o.uses, o.kernels
	for _, kind := range slices.Sorted(maps.Keys(o.uses)) {
		n.deps = append(slices.Clone(n.deps), o.uses[kind])
	}
}

// usesKeys are the keys of the outputs that tasks use, as parts of theirs.
func usesKeys(uses map[Data]*node) []string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(uses)) {
		parts = append(parts, string(kind)+"="+string(uses[kind].key))
	}
	return parts
}
