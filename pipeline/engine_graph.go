package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/spill"
	"bzdata/pipeline/store"
)

// node is one task of the run: its key, what it reads, and its work.
type node struct {
	run         *run
	key         Key
	stage, name string
	step        *Step
	work        func(ctx context.Context, t *Task) error
	deps        []*node
	after       []*node // more of deps, shared with other nodes
	shard       int
	file        string // of a segment's task: the input file of its shard
	rank, part  int    // of that file among all, and of the shard in it
	bytes       int64  // of the file that the shard is
	kernels     bool

	writes, spills float64 // see diskShares

	links   []Link
	publish *Publication
	// concluded is [Program.Concluded].
	concluded func(t *Task) error

	barrier []*node
	files   map[string][]string
	known   map[string]Key // the identities of files
	parts   map[string][]ReadPart
	pinned  []pinnedFile // must not change until the task is committed
	uses    map[Data]*node
	heldOut *node
	shards  []docSource

	segmentSteps []string // labels of the stages fused in a segment's task

	report *TaskReport
	done   chan struct{}
	reused bool

	reduces          bool  // a Reduce: one of a wave of parts
	pace             *pace // of the node's wave, of which weight is its own share
	weight, advanced float64
}

// readsHeldOut reports whether a task reads a file of held-out documents, which is no
// training input: its shard is the rank among such files.
func (n *node) readsHeldOut() bool {
	return n.stage == heldOutStage && n.shard >= 0 && len(n.segmentSteps) == 0
}

// wave is a set of nodes that may run at the same time, once the waves before are done.
type wave struct {
	stages []string // labels of the stages whose work ends with this wave
	nodes  []*node

	evenIfRefused bool // see [Program]
}

// shardState is where the documents of one shard are, as far as the plan is built.
type shardState struct {
	source  storedOrFile
	key     Key
	file    *inputFile
	rank    int // of the file
	part    inputPart
	surveys []*node // that run before the shard is read from its file
}

type storedOrFile struct {
	file   *fileSource
	stored *storedSource
}

func (s storedOrFile) docs() docSource {
	if s.file != nil {
		return *s.file
	}
	return *s.stored
}

// builder lays out the waves of a plan.
type builder struct {
	*run
	shards  []shardState
	pending []stagePass
	latest  map[Data]*node
	heldSet *node
	holders []*node           // the latest segment's tasks
	owners  map[string]string // labels of stages by the links that they own

	surveyed map[Key]*node // tasks that look at parts of files of Reads
}

// build lays out every task of the plan. Nothing runs.
func (r *run) build() error {
	b := &builder{run: r, latest: map[Data]*node{}, owners: map[string]string{}, surveyed: map[Key]*node{}}
	b.begin(r.inputs)
	if err := b.heldOutFirst(); err != nil {
		return err
	}
	for i := range r.plan.Stages {
		step := &r.plan.Stages[i]
		if err := b.step(step); err != nil {
			return err
		}
		if r.opt.Until == step.Label() {
			return b.close(nil)
		}
	}
	if r.opt.Until != "" {
		return &UsageError{Msg: fmt.Sprintf("--until %s: the plan has no such stage", r.opt.Until)}
	}
	return b.close(nil)
}

func (b *builder) step(step *Step) error {
	prog, err := step.Program()
	if err != nil {
		return fmt.Errorf("stage %s: %w", step.Label(), err)
	}
	reads, err := b.reads(step, prog)
	if err != nil {
		return err
	}
	if prog.Run != nil {
		return b.artifact(step, prog, reads)
	}
	return b.passes(step, prog, reads)
}

// passes adds a document stage.
func (b *builder) passes(step *Step, prog Program, reads readSet) error {
	var before []*node
	uses := b.uses(prog)
	for i := range prog.Passes {
		p := &prog.Passes[i]
		b.pending = append(b.pending, stagePass{step: step, pass: p, barrier: before, reads: reads})
		if p.Barrier == nil {
			continue
		}
		nodes, err := b.barrier(step, p, barrierOf{reads, before, uses, prog.Kernels})
		if err != nil {
			return err
		}
		before = nodes
	}
	return nil
}

// barrier closes the segment before it and adds the reduce tasks and Global.
func (b *builder) barrier(step *Step, p *Pass, of barrierOf) ([]*node, error) {
	parts := 1
	if p.Barrier.Parts != nil {
		parts = max(1, p.Barrier.Parts(b.inputBytes()))
	}
	err := b.close(&parts)
	if err != nil {
		return nil, err
	}
	senders := b.holders
	chain := stageChain(step, p.Name, of.reads, p.Barrier.Config)
	if len(of.uses) > 0 {
		chain = string(keyOf(append(usesKeys(of.uses), chain)...))
	}
	var out []*node
	if p.Barrier.Reduce != nil {
		w := wave{}
		for i := range parts {
			n := b.node(step, fmt.Sprintf("reduce %d of %d", i+1, parts),
				keyOf("reduce/3", chain, nodeKeys(senders), fmt.Sprint(i, parts)), senders)
			of.equip(n, of.before)
			n.work, n.reduces = reduceWork(p.Barrier, senders, i, parts), true
			w.nodes = append(w.nodes, n)
		}
		b.waves = append(b.waves, w)
		out = w.nodes
	}
	if p.Barrier.Global != nil {
		key := keyOf("global/2", chain, nodeKeys(senders), nodeKeys(out))
		n := b.node(step, "global", key, append(slices.Clone(senders), out...))
		of.equip(n, out)
		n.work = p.Barrier.Global
		if p.Barrier.Links != nil {
			n.links = p.Barrier.Links(step.Label())
		}
		if n.publish, err = b.publication(step, p.Barrier); err != nil {
			return nil, err
		}
		if err := b.own(step, n.links); err != nil {
			return nil, err
		}
		b.waves = append(b.waves, wave{nodes: []*node{n}})
		out = append(slices.Clone(out), n)
	}
	if p.Barrier.Makes != "" {
		b.latest[p.Barrier.Makes] = out[len(out)-1]
	}
	return out, nil
}

func reduceWork(barrier *Barrier, senders []*node, part, parts int) func(context.Context, *Task) error {
	return func(ctx context.Context, t *Task) error {
		sent := make([]spill.Part, len(senders))
		for i, n := range senders {
			sent[i] = spill.Part{Name: filepath.Join(n.dir(), exchangeName), Index: part}
		}
		merged := spill.NewMerged(t.spillOptions(t.budget().merging), sent)
		p := &Partition{Index: part, Parts: parts, merged: merged, task: t}
		return errors.Join(barrier.Reduce(ctx, t, p), merged.Close())
	}
}

// inputBytes is the size of all input files, from which partition counts follow.
func (b *builder) inputBytes() int64 {
	sum := int64(0)
	for _, f := range b.inputs {
		sum += f.identity.Bytes
	}
	return sum
}

func (b *builder) node(step *Step, name string, key Key, deps []*node) *node {
	return &node{run: b.run, key: key, stage: step.Label(), name: name, step: step, deps: deps,
		shard: -1, done: make(chan struct{}), uses: map[Data]*node{}}
}

func nodeKeys(ns []*node) string {
	keys := make([]string, len(ns))
	for i, n := range ns {
		keys[i] = string(n.key)
	}
	return strings.Join(keys, ",")
}

// stageChain is what one pass of a stage, or its barrier, adds to a key. It depends on all
// of the stage's configuration if config is nil.
func stageChain(step *Step, pass string, reads readSet, config func() any) string {
	depends := step.Config
	if config != nil {
		depends = config()
	}
	return string(keyOf(step.Kind.Name, step.Label(), fmt.Sprint(step.Kind.Version), pass,
		string(Canonical(depends)), fmt.Sprint(step.seed(step.plan.Seed)), strings.Join(reads.keys, ",")))
}

// close ends the segment that is being gathered: with parts, its last pass sends to a
// barrier. A prefix of it that is already committed for every shard, as --until leaves
// it, is reused as a boundary.
func (b *builder) close(parts *int) error {
	if len(b.pending) == 0 && b.materialised() {
		return nil
	}
	full := b.segment(b.pending, parts)
	if !b.committed(full) {
		for cut := len(b.pending) - 1; cut >= 0; cut-- {
			if cut == 0 && b.materialised() {
				break
			}
			prefix := b.segment(b.pending[:cut], nil)
			if len(prefix) > 0 && b.committed(prefix) {
				b.adopt(prefix, b.pending[:cut])
				b.pending = b.pending[cut:]
				return b.close(parts)
			}
		}
	}
	b.adopt(full, b.pending)
	b.pending = nil
	return nil
}

func (b *builder) materialised() bool {
	return len(b.shards) > 0 && b.shards[0].source.stored != nil
}

func (b *builder) committed(nodes []*node) bool {
	for _, n := range nodes {
		if !store.Exists(b.opt.FS, filepath.Join(n.dir(), reportName)) {
			return false
		}
	}
	return true
}

// segment makes the nodes of a fused reading, one for each shard.
func (b *builder) segment(passes []stagePass, parts *int) []*node {
	ingest := !b.materialised()
	stores := ingest
	chain := []string{"segment/4"}
	var deps []*node
	for _, p := range passes {
		stores = stores || p.pass.Edits
		chain = append(chain, stageChain(p.step, p.pass.Name, p.reads, p.pass.Config), nodeKeys(p.barrier))
		if p.pass.Sees != nil {
			chain = append(chain, p.pass.Sees(b.inputBytes()))
		}
		deps = append(append(deps, p.barrier...), p.reads.surveys...)
		if p.reads.heldOut != nil {
			deps = append(deps, p.reads.heldOut)
		}
	}
	n := 0
	if parts != nil {
		n = *parts
	}
	chain = append(chain, fmt.Sprint(n, b.plan.KeepDropped))
	nodes := make([]*node, len(b.shards))
	var previous []*node
	for i := range b.shards {
		nodes[i] = b.segmentNode(i, passes, segmentShape{n, stores, b.storesPlain(), chain, deps}, previous)
		if ingest && b.shards[i].file.limit >= 0 && b.shards[i].source.file.count == nil {
			previous = append(previous, nodes[i])
		}
	}
	return nodes
}

type segmentShape struct {
	parts  int
	stores bool
	plain  bool // what it stores
	chain  []string
	deps   []*node
}

func (b *builder) segmentNode(shard int, passes []stagePass, shape segmentShape, previous []*node) *node {
	st := b.shards[shard]
	source, key, deps := st.source.docs(), st.key, shape.deps
	var after []*node
	if st.source.file != nil {
		f := *st.source.file
		for _, p := range previous {
			if f.count == nil && b.shards[p.shard].file.entry == f.file.entry {
				f.before = append(f.before, p)
				key = keyOf(string(key), string(p.key))
			}
		}
		deps = append(slices.Clone(deps), f.before...)
		source, after = f, f.waits()
	}
	for _, p := range passes {
		if p.pass.Turn != nil {
			key = keyOf("turn", string(key), p.pass.Turn(shard, len(b.shards), p.reads.cut))
		}
	}
	seg := &segment{shard: shard, passes: passes, parts: shape.parts, stores: shape.stores, source: source}
	n := b.node(lastStep(passes), st.name(), keyOf(append(slices.Clone(shape.chain), string(key))...), deps)
	n.shard, n.file, n.work, n.after = shard, st.file.full, seg.work, after
	n.rank, n.part, n.bytes = st.rank, st.part.index, st.part.bytes
	n.writes, n.spills = shape.diskShares(passes)
	for _, p := range passes {
		n.segmentSteps = append(n.segmentSteps, p.step.Label())
		n.pinned = append(n.pinned, p.reads.pinned...)
	}
	return n
}

// diskShares estimates what a task of a segment writes for a byte of text, and what of it may
// be in temporary files too.
func (s segmentShape) diskShares(passes []stagePass) (writes, spills float64) {
	if s.stores {
		writes = storedShare
		if s.plain {
			writes = plainShare
		}
	}
	if s.parts > 0 {
		spills = float64(passes[len(passes)-1].pass.RecordBytes) / documentBytes
	}
	return writes + spills, spills
}

// name names the shard for people.
func (st *shardState) name() string {
	name := fmt.Sprintf("%s:%s", st.file.source, st.file.identity.Path)
	if st.part.count > 1 {
		name += fmt.Sprintf(" (%d of %d)", st.part.index+1, st.part.count)
	}
	return name
}

// lastStep is the step that a segment's tasks are shown under.
func lastStep(passes []stagePass) *Step {
	if len(passes) == 0 {
		return &Step{Kind: Kind{Name: inputStage}, ID: inputStage}
	}
	return passes[len(passes)-1].step
}

// adopt makes a segment's nodes the next wave and the new home of the documents.
func (b *builder) adopt(nodes []*node, passes []stagePass) {
	w := wave{nodes: nodes}
	if !b.materialised() {
		w.nodes = b.withSurveys(nodes)
	}
	for _, p := range passes {
		w.stages = append(w.stages, p.step.Label())
	}
	b.waves, b.holders = append(b.waves, w), nodes
	for i, n := range nodes {
		st := &b.shards[i]
		stored := storedSource{base: n}
		if !b.storesAnew(passes, st) {
			stored = storedSource{base: st.source.stored.base, keep: n}
		}
		st.source, st.key = storedOrFile{stored: &stored}, n.key
	}
}

func (b *builder) storesAnew(passes []stagePass, st *shardState) bool {
	return st.source.file != nil || slices.ContainsFunc(passes, func(p stagePass) bool { return p.pass.Edits })
}

// artifact adds an artifact stage.
func (b *builder) artifact(step *Step, p Program, reads readSet) error {
	if err := b.own(step, p.Links); err != nil {
		return err
	}
	parts := []string{"artifact", stageChain(step, "", reads, nil)}
	var deps []*node
	if !p.SkipsDocuments {
		if err := b.close(nil); err != nil {
			return err
		}
		for _, s := range b.shards {
			parts = append(parts, string(s.key))
		}
		deps = append(deps, b.holders...)
	}
	uses := b.uses(p)
	parts = append(parts, usesKeys(uses)...)
	for _, kind := range slices.Sorted(maps.Keys(uses)) {
		deps = append(deps, uses[kind])
	}
	n := b.node(step, "run", keyOf(parts...), deps)
	n.uses, n.files, n.known, n.pinned, n.heldOut = uses, reads.files, reads.known, reads.pinned, reads.heldOut
	n.kernels, n.links, n.writes = p.Kernels, p.Links, p.WriteShare
	if n.heldOut != nil {
		n.deps = append(n.deps, n.heldOut)
	}
	n.work, n.concluded = p.Run, p.Concluded
	if !p.SkipsDocuments {
		for _, s := range b.shards {
			n.shards = append(n.shards, s.source.docs())
		}
	}
	for _, kind := range step.Kind.Makes {
		b.latest[kind] = n
	}
	b.waves = append(b.waves, wave{stages: []string{step.Label()}, nodes: []*node{n}, evenIfRefused: p.EvenIfRefused})
	return nil
}
