package cuda

import (
	"fmt"

	"bzdata/train/tensor"
)

// What the router's kernels have room for.
const (
	expertsMax = 8192
	groupsMax  = 64
)

// perWarp is the shape of a launch with a warp for each row, and bytes of shared memory for each warp.
func perWarp(rows, bytes int) dims {
	const warpsMax, shared = 4, 48 << 10
	warps := warpsMax
	for warps > 1 && warps*bytes > shared {
		warps /= 2
	}
	on := line(ceil(rows, warps), 32*warps)
	on.shared = uint32(warps * bytes)
	return on
}

// Route takes the logits in r.Probs to probabilities and fills the rest of r. At least r.K experts must be admitted.
func (d *Device) Route(r *tensor.Routing, rule tensor.RouteRule) {
	if r.Experts > expertsMax || rule.Groups > groupsMax {
		d.fault(fmt.Errorf("Route: %d experts in %d groups; a card routes to %d in %d at most", r.Experts, rule.Groups,
			expertsMax, groupsMax))
		return
	}
	d.launch("route", perWarp(r.Rows, 5*r.Experts), r.Probs, r.Unmasked, r.IDs, r.Weights, rule.Allowed, int32(r.Rows),
		int32(r.Experts), int32(r.K), int32(rule.Groups), int32(rule.TopGroups), flag(rule.Normalize), rule.Scale)
	d.sortSlots(r)
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// sortSlots fills the order of slots by expert: a stable counting sort over blocks of slots.
func (d *Device) sortSlots(r *tensor.Routing) {
	const block, threads = 256, 1024 // block is SLOTS of route.cu
	slots, blocks := r.Slots(), ceil(r.Slots(), block)
	counts, done := d.scratch(4 * blocks * r.Experts)
	defer done()
	on := line(blocks, block)
	on.shared = uint32(4 * r.Experts)
	d.launch("route_count", on, counts, r.IDs, int32(slots), int32(r.Experts))
	d.launch("route_start", line(1, threads), r.Start, counts, int32(blocks), int32(r.Experts))
	d.launch("route_place", line(blocks, block), r.Place, r.Slot, counts, r.IDs, int32(slots), int32(r.Experts))
}

// RouteBack replaces r.Probs by the derivative of the logits, given that of the weights by slot.
func (d *Device) RouteBack(r *tensor.Routing, rule tensor.RouteRule, dWeights tensor.Array) {
	d.launch("route_back", perWarp(r.Rows, 0), r.Probs, r.IDs, dWeights, int32(r.Rows), int32(r.Experts), int32(r.K),
		flag(rule.Normalize), rule.Scale)
}

// BalanceCount returns, by expert, how often it is among the k most probable of r.Unmasked, and the sum of its
// probabilities, over the rows that count.
func (d *Device) BalanceCount(r *tensor.Routing, k int, counted tensor.Ints) (chosen, probable []float64) {
	const block, threads = 64, 128 // block is ROWS of route.cu
	blocks := ceil(r.Rows, block)
	ids, doneIDs := d.scratch(4 * r.Rows * k)
	defer doneIDs()
	parts, doneParts := d.scratch(8 * blocks * 2 * r.Experts)
	defer doneParts()
	d.launch("balance_top", perWarp(r.Rows, r.Experts), ids, r.Unmasked, int32(r.Rows), int32(r.Experts), int32(k))
	d.launch("balance_parts", plane(blocks, ceil(r.Experts, threads), threads), parts, ids, r.Unmasked, counted, int32(r.Rows),
		int32(r.Experts), int32(k))
	sums := make([]float64, blocks*2*r.Experts)
	d.DownloadDoubles(sums, tensor.Doubles{Addr: parts, N: len(sums)})
	chosen, probable = make([]float64, r.Experts), make([]float64, r.Experts)
	for at := 0; at < len(sums); at += 2 * r.Experts {
		for e := range r.Experts {
			chosen[e] += sums[at+e]
			probable[e] += sums[at+r.Experts+e]
		}
	}
	return chosen, probable
}

// BalanceBack adds to r.Probs, which are the logits' derivatives, those of Σ slope·probability of r.Unmasked over the rows
// that count.
func (d *Device) BalanceBack(r *tensor.Routing, slope tensor.Array, counted tensor.Ints) {
	d.launch("balance_back", perWarp(r.Rows, 0), r.Probs, r.Unmasked, slope, counted, int32(r.Rows), int32(r.Experts))
}
