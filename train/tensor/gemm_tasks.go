package tensor

import "sync"

// A product that several workers share is one list of tasks, which are begun in the list's order. A task waits for just those
// before it whose results it takes, so that no worker waits at the end of each block for the others: while the last rows of
// a block are multiplied, the next block's strips are packed.

// gemmTask packs the strips of a block from column strip on, or multiplies range rows of A by it.
type gemmTask struct{ block, strip, rows int }

// noStrip marks a task that multiplies.
const noStrip = -1

// gemmTasks is the list of one product.
type gemmTasks struct {
	gemm
	cuts   []int // range i of rows is [cuts[i], cuts[i+1])
	blocks []sharedBlock
	list   []gemmTask
}

type sharedBlock struct {
	gemmBlock
	packed *sync.WaitGroup  // of the tasks that pack
	done   []sync.WaitGroup // of the ranges of rows
}

// parallel computes the product on all workers. How it is cut does not change any element's arithmetic.
func (g *gemm) parallel() {
	t := gemmTasks{gemm: *g, cuts: g.cuts()}
	strips := [2][]float32{g.dev.Borrow(g.stripsRoom()), g.dev.Borrow(g.stripsRoom())}
	defer g.dev.Return(strips[0])
	defer g.dev.Return(strips[1])
	g.eachBlock(func(x gemmBlock) {
		x.strips = strips[len(t.blocks)%2]
		t.blocks = append(t.blocks, sharedBlock{x, new(sync.WaitGroup), make([]sync.WaitGroup, len(t.cuts)-1)})
	})
	t.order()
	g.dev.For(len(t.list), func(i int) { t.do(t.list[i]) })
}

// cuts shares C's rows out in ranges that become smaller, so that workers end at nearly the same time: each is
// half of a worker's share of what is left.
func (g *gemm) cuts() []int {
	mr, cuts := g.dev.kernels.mr, []int{0}
	for from := 0; from < g.m; {
		size := min(mBlock, max(2*mr, roundUp((g.m-from)/(2*g.dev.workers), mr)))
		from = min(g.m, from+size)
		cuts = append(cuts, from)
	}
	return cuts
}

// order fills the list: each block's strips come before the last rows of the block before.
func (t *gemmTasks) order() {
	ranges := len(t.cuts) - 1
	early := max(0, ranges-t.dev.workers)
	t.addStrips(0)
	for b := range t.blocks {
		t.addRows(b, 0, early)
		if b+1 < len(t.blocks) {
			t.addStrips(b + 1)
		}
		t.addRows(b, early, ranges)
	}
}

// stripsTogether is how many strips one task packs.
const stripsTogether = 4

func (t *gemmTasks) addStrips(block int) {
	x := &t.blocks[block]
	for s := 0; s < x.n; s += stripsTogether * t.dev.kernels.nr {
		x.packed.Add(1)
		t.list = append(t.list, gemmTask{block: block, strip: s})
	}
}

func (t *gemmTasks) addRows(block, from, to int) {
	for i := from; i < to; i++ {
		t.blocks[block].done[i].Add(1)
		t.list = append(t.list, gemmTask{block: block, strip: noStrip, rows: i})
	}
}

func (t *gemmTasks) do(task gemmTask) {
	x := &t.blocks[task.block]
	if task.strip != noStrip {
		if task.block >= 2 { // whose strips are in the same place
			for i := range x.done {
				t.blocks[task.block-2].done[i].Wait()
			}
		}
		t.pack(&x.gemmBlock, task.strip, min(x.n, task.strip+stripsTogether*t.dev.kernels.nr))
		x.packed.Done()
		return
	}
	x.packed.Wait()
	if task.block > 0 {
		t.blocks[task.block-1].done[task.rows].Wait()
	}
	t.rows(&x.gemmBlock, t.cuts[task.rows], t.cuts[task.rows+1])
	x.done[task.rows].Done()
}
