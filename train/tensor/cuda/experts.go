package cuda

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"bzdata/train/tensor"
)

// expertTables are the addresses of experts' weights and gradients, on the card: the kernels find those of their rows
// there. They are kept by their content, so that a table is copied once, and again only when weights move or are
// trained or frozen.
type expertTables struct {
	mu     sync.Mutex
	tables map[string]tensor.Ints
}

// expertTablesMax bounds how many are kept: some for each layer of a model.
const expertTablesMax = 4096

// expertTable is the table of one mixture: runs of an address for each expert, and the numbers of those that are trained.
type expertTable struct {
	addr    uint64
	experts int
}

// Runs of an expertTable, in their order.
const (
	gateWeights = iota
	upWeights
	downWeights
	gateGrads
	upGrads
	downGrads
	downTrained   // the experts whose down has a gradient
	gateUpTrained // those whose gate or up has one
	tableRuns
)

// run is the address of a run of the table.
func (t expertTable) run(i int) uint64 { return t.addr + uint64(8*i*t.experts) }

// addresses are the bytes of a table.
func addresses(e tensor.Experts) []byte {
	n := len(e.Gate)
	table := make([]byte, 8*tableRuns*n)
	put := func(run, i int, a tensor.Array) {
		if !a.None() {
			binary.LittleEndian.PutUint64(table[8*(run*n+i):], a.Addr)
		}
	}
	for run, weights := range [][]*tensor.Weight{e.Gate, e.Up, e.Down} {
		for i, w := range weights {
			if w != nil {
				put(gateWeights+run, i, w.Data)
				put(gateGrads+run, i, w.Grad)
			}
		}
	}
	for run, ids := range map[int][]int{downTrained: trained(e.Down), gateUpTrained: trained(e.Gate, e.Up)} {
		for i, id := range ids {
			binary.LittleEndian.PutUint64(table[8*(run*n+i):], uint64(id))
		}
	}
	return table
}

// trained are the experts of whose weights at least one has a gradient.
func trained(weights ...[]*tensor.Weight) (experts []int) {
	for i := range weights[0] {
		if slices.ContainsFunc(weights, func(list []*tensor.Weight) bool { return list[i] != nil && !list[i].Grad.None() }) {
			experts = append(experts, i)
		}
	}
	return experts
}

// of returns the table of experts, after copying it to the card if it is new.
func (t *expertTables) of(d *Device, e tensor.Experts) expertTable {
	content := addresses(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	kept, ok := t.tables[string(content)]
	if !ok {
		if t.tables == nil || len(t.tables) >= expertTablesMax {
			t.drop(d)
		}
		values := make([]int32, len(content)/4)
		for i := range values {
			values[i] = int32(binary.LittleEndian.Uint32(content[4*i:]))
		}
		d.GrowInts(&kept, len(values))
		d.UploadInts(kept, values)
		t.tables[string(content)] = kept
	}
	return expertTable{kept.Addr, len(e.Gate)}
}

// drop gives all tables back. Launches that are queued still find them as they were, since what their memory is used
// for next is queued after them.
func (t *expertTables) drop(d *Device) {
	for _, kept := range t.tables {
		d.giveBack(kept.Addr)
	}
	t.tables = map[string]tensor.Ints{}
}

// checkExperts returns what is wrong with operands: rows of hidden values, inner rows, and the experts themselves.
func checkExperts(e tensor.Experts, r *tensor.Routing, rows, inner []tensor.Array) error {
	n := r.Experts
	routed := r.Start.N > n && r.Slot.N >= r.Slots() && r.Weights.N >= r.Slots()
	if len(e.Gate) != n || len(e.Up) != n || len(e.Down) != n || !routed {
		return fmt.Errorf("%d gates, %d ups and %d downs, and a routing of %d slots to %d experts, do not fit each other",
			len(e.Gate), len(e.Up), len(e.Down), r.Slots(), n)
	}
	typ := rows[0].Type
	var wrong error
	check := func(what string, i int, a tensor.Array, values int, typ tensor.Type) {
		if wrong == nil && (a.N < values || a.Type != typ) {
			wrong = fmt.Errorf("%s %d: %d values of %s; want %d of %s", what, i, a.N, a.Type, values, typ)
		}
	}
	for i, a := range rows {
		check("rows", i, a, r.Slots()*e.Hidden, typ)
	}
	for i, a := range inner {
		check("inner rows", i, a, r.Slots()*e.Width, typ)
	}
	for _, weights := range [][]*tensor.Weight{e.Gate, e.Up, e.Down} {
		for i, w := range weights {
			if w != nil && !w.Data.None() {
				check("weights of expert", i, w.Data, e.Hidden*e.Width, typ)
			}
			if w != nil && !w.Grad.None() {
				check("gradient of expert", i, w.Grad, e.Hidden*e.Width, tensor.F32)
			}
		}
	}
	return wrong
}

// expertKernels are the kernels for one call: for tiles of so many rows and columns.
type expertKernels struct {
	tensor.Experts
	d              *Device
	table          expertTable
	start          tensor.Ints
	slots, experts int

	rows, cols, gradRows int
	threads, shared      int
	gradShared           int
	suffix, gradSuffix   string
}

// Sizes of the kernels of experts.cu and experts_plain.cu.
const (
	expertStages, expertStep, expertCols = 3, 32, 128
	expertPlainSide                      = 64
)

// expertShared is the shared memory of a block of experts.cu in bytes.
func expertShared(rows int) int { return 2 * expertStages * expertStep * (rows + expertCols) }

// chooseExperts returns the kernels for experts and rows. Those on tensor cores come with tiles of 128 rows and, where
// experts have fewer rows than would fill them, of 64.
func (d *Device) chooseExperts(e tensor.Experts, r *tensor.Routing, rows []tensor.Array) *expertKernels {
	k := &expertKernels{Experts: e, d: d, table: d.experts.of(d, e), start: r.Start, slots: r.Slots(), experts: r.Experts}
	if !onTensorCores(e, rows) {
		k.rows, k.cols, k.gradRows, k.threads = expertPlainSide, expertPlainSide, expertPlainSide, 256
		k.suffix = "_plain_" + rows[0].Type.String()
		k.gradSuffix = k.suffix
		return k
	}
	k.rows, k.cols, k.gradRows, k.threads = 128, expertCols, 128, 128
	if k.slots < 96*loadedExperts(e) {
		k.rows = 64
	}
	k.shared, k.gradShared = expertShared(k.rows), expertShared(k.gradRows)
	k.suffix, k.gradSuffix = fmt.Sprintf("_%d_bf16", k.rows), "_bf16"
	return k
}

// loadedExperts counts the experts that are there.
func loadedExperts(e tensor.Experts) (n int) {
	for _, w := range e.Gate {
		if w != nil && !w.Data.None() {
			n++
		}
	}
	return n
}

// onTensorCores reports whether all rows are bf16 and begin at multiples of 16 bytes.
func onTensorCores(e tensor.Experts, rows []tensor.Array) bool {
	fits := e.Hidden%8 == 0 && e.Width%8 == 0
	for _, weights := range [][]*tensor.Weight{e.Gate, e.Up, e.Down} {
		for _, w := range weights {
			fits = fits && (w == nil || w.Data.Addr%16 == 0)
		}
	}
	for _, a := range rows {
		fits = fits && a.Type == tensor.BF16 && a.Addr%16 == 0
	}
	return fits
}

// grid is a launch with a block for each tile of the rows' results, which are cols wide for a block. Each expert may
// have one tile that is not full.
func (k *expertKernels) grid(width, cols int) dims {
	tiles := k.slots/k.rows + min(k.experts, k.slots)
	on := plane((width+cols-1)/cols, tiles, k.threads)
	on.shared = uint32(k.shared)
	return on
}

// nn launches dx = dy W, and with a second pair the sum of both products.
func (k *expertKernels) nn(dy tensor.Array, w int, dy2 tensor.Array, w2 uint64, dx tensor.Array, in, out int) {
	k.d.launch("experts_nn"+k.suffix, k.grid(in, k.cols), dy, k.table.run(w), dy2, w2, dx, k.start, int32(k.experts),
		int32(in), int32(out))
}

// tn launches grad += dyᵀ x for a run of trained experts, and with a second pair the same for it.
func (k *expertKernels) tn(
	dy tensor.Array, grads int, dy2 tensor.Array, grads2 uint64, x tensor.Array, in, out int, run int, trained []int,
) {
	pairs := 1
	if grads2 != 0 {
		pairs = 2
	}
	on := plane((in+k.gradRows-1)/k.gradRows, (out+k.gradRows-1)/k.gradRows, k.threads)
	on.grid[2], on.shared = uint32(pairs*len(trained)), uint32(k.gradShared)
	k.d.launch("experts_tn"+k.gradSuffix, on, dy, k.table.run(grads), dy2, grads2, x, k.start, k.table.run(run),
		int32(len(trained)), int32(in), int32(out))
}

// Experts computes the experts' outputs for their sorted rows, with two launches for all experts.
func (d *Device) Experts(e tensor.Experts, r *tensor.Routing, x, out tensor.Array, inner tensor.GLU) {
	if r.Slots() == 0 || d.Err() != nil {
		return
	}
	rows, inside := []tensor.Array{x, out}, []tensor.Array{inner.Gate, inner.Up, inner.Act}
	if err := checkExperts(e, r, rows, inside); err != nil {
		d.fault(fmt.Errorf("experts: %w", err))
		return
	}
	k := d.chooseExperts(e, r, append(rows, inside...))
	// Half the columns of a tile on tensor cores are gate's, half are up's.
	cols := min(k.cols, 64)
	d.launch("experts_gate_up"+k.suffix, k.grid(e.Width, cols), x, k.table.run(gateWeights), k.table.run(upWeights),
		inner.Gate, inner.Up, inner.Act, k.start, int32(k.experts), int32(e.Hidden), int32(e.Width))
	d.launch("experts_nt"+k.suffix, k.grid(e.Hidden, k.cols), inner.Act, k.table.run(downWeights), out, k.start,
		int32(k.experts), int32(e.Width), int32(e.Hidden))
}

// ExpertsBack is the derivative of Experts and of the weights that its rows are added with. Sums over an expert's rows
// are in their order.
func (d *Device) ExpertsBack(e tensor.Experts, r *tensor.Routing, x, dy tensor.Array, inner tensor.GLU, dWeights tensor.Array,
	needIn bool,
) {
	down, gateUp := trained(e.Down), trained(e.Gate, e.Up)
	if r.Slots() == 0 || d.Err() != nil || !(needIn || !dWeights.None() || len(down)+len(gateUp) > 0) {
		return
	}
	dAct := d.Borrow(dy.Type, r.Slots()*e.Width)
	defer d.Return(dAct)
	rows, inside := []tensor.Array{x, dy}, []tensor.Array{inner.Gate, inner.Up, inner.Act, dAct}
	if err := checkExperts(e, r, rows, inside); err != nil {
		d.fault(fmt.Errorf("experts' derivative: %w", err))
		return
	}
	k := d.chooseExperts(e, r, append(rows, inside...))
	k.nn(dy, downWeights, tensor.Array{}, 0, dAct, e.Width, e.Hidden)
	d.innerBack(r, inner, dAct, dWeights, e.Width)
	k.tn(dy, downGrads, tensor.Array{}, 0, inner.Act, e.Width, e.Hidden, downTrained, down)
	k.tn(inner.Gate, gateGrads, inner.Up, k.table.run(upGrads), x, e.Hidden, e.Width, gateUpTrained, gateUp)
	if needIn {
		k.nn(inner.Gate, gateWeights, inner.Up, k.table.run(upWeights), dy, e.Hidden, e.Width)
	}
}

// innerBack takes dAct, the derivative of the inner rows before weighting, on to gate and up; see experts_inner.cu.
func (d *Device) innerBack(r *tensor.Routing, inner tensor.GLU, dAct, dWeights tensor.Array, width int) {
	packed := int32(1)
	for _, a := range []tensor.Array{inner.Gate, inner.Up, inner.Act, dAct} {
		if a.Addr%16 != 0 || width*a.Type.Bytes()%16 != 0 {
			packed = 0
		}
	}
	d.launch("experts_inner_back_"+dAct.Type.String(), line((r.Slots()+3)/4, 128), inner.Gate, inner.Up, inner.Act, dAct,
		r.Weights, r.Slot, dWeights, int32(r.Slots()), int32(width), packed)
}
