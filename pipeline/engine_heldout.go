package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
)

// heldOutStage is the name under which held-out documents are accounted for.
const heldOutStage = "held_out"

// heldOutSetStage is the name of the task that gathers the held-out set.
const heldOutSetStage = "held_out_set"

// selectShare is the share of the held-out set, one in selectShare by content hash,
// that may guide choices; the rest gives the verdict. The verdict's interval narrows
// with the square root of its documents, so it gets the larger part.
const selectShare = 4

// HeldOutRules are a network profile's own row rules: they, and no training stage,
// filter the held-out set.
type HeldOutRules struct {
	// Name identifies the rules in keys.
	Name string
	// New returns a fresh judge, which sees the rows in order and returns the reason
	// for leaving a row out, or "".
	New func() func(text string) string
}

// heldOutFirst adds what makes the held-out set, before any stage.
func (b *builder) heldOutFirst() error {
	h := b.plan.HeldOut
	switch {
	case h == nil:
		return nil
	case len(h.Inputs) > 0:
		return b.heldOutInputs()
	}
	step := &Step{Kind: Kind{Name: heldOutStage, Version: 2}, ID: heldOutStage, Config: *h, plan: b.plan}
	reads := readSet{files: map[string][]string{}}
	passes := []Pass{
		{Name: "choose", Open: openHeldOutChoice(h), Barrier: &Barrier{Reduce: chooseHeldOut(h)}},
		Apply("divert"),
	}
	if err := b.passes(step, Program{Passes: passes}, reads); err != nil {
		return err
	}
	if err := b.close(nil); err != nil {
		return err
	}
	return b.addHeldOutSet(b.holders, heldOutName)
}

// heldOutInputs reads held-out documents from files of their own.
func (b *builder) heldOutInputs() error {
	b.begin(b.exam)
	nodes := b.segment(nil, nil)
	for _, n := range nodes {
		n.stage = heldOutStage
	}
	b.waves = append(b.waves, wave{nodes: b.withSurveys(nodes)})
	b.begin(b.inputs)
	return b.addHeldOutSet(nodes, docsName)
}

func openHeldOutChoice(h *HeldOut) func(context.Context, *Task) (Mapper, error) {
	below := uint64(math.MaxUint64)
	if h.Fraction < 1 {
		below = uint64(h.Fraction * math.MaxUint64)
	}
	return func(context.Context, *Task) (Mapper, error) {
		return MapFunc(func(d *Doc, out *Out) error {
			eligible := len(h.Sources) == 0 || slices.Contains(h.Sources, d.Source)
			if hash := ContentHash(d.Text); hash < below {
				payload := byte(0)
				if !eligible {
					payload = 1
				}
				out.Send(hash, []byte{payload})
			}
			return nil
		}), nil
	}
}

// chooseHeldOut takes the smallest content hashes, up to documents_max. A hash is
// chosen if an eligible document has it; then every copy of it leaves training, also
// from other sources, so that exact copies fall on one side.
func chooseHeldOut(h *HeldOut) func(context.Context, *Task, *Partition) error {
	return func(_ context.Context, t *Task, part *Partition) error {
		chosen := int64(0)
		var first Record // of the hash at hand
		taken, some := false, false
		return part.Each(func(r Record) error {
			if some && r.Key == first.Key {
				if taken {
					t.Decide(r.Ref, Verdict{Reason: "copy_of_held_out", Matched: &first.Ref})
				}
				return nil
			}
			first, some = Record{Key: r.Key, Ref: r.Ref}, true
			taken = r.Payload[0] == 0 && (h.DocumentsMax == 0 || chosen < int64(h.DocumentsMax))
			if taken {
				chosen++
				t.Decide(r.Ref, Verdict{HeldOut: true})
			}
			return nil
		})
	}
}

// addHeldOutSet adds the task that makes the held-out set of what the given tasks hold.
func (b *builder) addHeldOutSet(holders []*node, file string) error {
	step := &Step{Kind: Kind{Name: heldOutSetStage, Version: 3}, ID: heldOutSetStage, Config: struct{}{}, plan: b.plan}
	refs, pinned, refsKey, err := b.references()
	if err != nil {
		return err
	}
	rules := b.opt.HeldOutRules
	key := keyOf(heldOutSetStage, "3", rules.Name, fmt.Sprint(b.plan.Seed), nodeKeys(holders), refsKey)
	n := b.node(step, "gather", key, holders)
	n.pinned = pinned
	n.work = func(ctx context.Context, t *Task) error { return gatherHeldOut(ctx, t, holders, file, rules, refs) }
	b.heldSet = n
	b.waves = append(b.waves, wave{stages: []string{heldOutSetStage}, nodes: []*node{n}})
	return nil
}

// referenceFiles are the files of one [Read] with Rows.
type referenceFiles struct {
	files []string
	rows  Input
}

// references finds the files of all references in the plan, also behind --until, so that
// the exam does not depend on where a run ends.
func (b *builder) references() (refs []referenceFiles, pinned []pinnedFile, key string, err error) {
	for _, step := range b.plan.whole().Stages {
		p, err := step.Program()
		if err != nil {
			return nil, nil, "", fmt.Errorf("stage %s: %w", step.Label(), err)
		}
		if p.Reads == nil {
			continue
		}
		for _, read := range p.Reads(b.plan) {
			if read.Rows == nil {
				continue
			}
			files, k, err := b.readFiles(step.Label(), read)
			if err != nil {
				return nil, nil, "", err
			}
			names := make([]string, len(files))
			for i, f := range files {
				names[i] = f.name
			}
			refs, pinned, key = append(refs, referenceFiles{names, *read.Rows}), append(pinned, files...), key+string(k)
		}
	}
	return refs, pinned, key, nil
}

// gatherHeldOut writes the held-out set: deduplicated within itself by content, and marked
// select or judge. Rows that a reference has, and those that the profile's rules leave out of
// evaluation, stay in the set without a mark, so that training text is kept apart from them
// too; the drop log names them. It is here and not in the stages that use the set, since they
// must agree on the exam.
func gatherHeldOut(
	ctx context.Context, t *Task, holders []*node, file string, rules HeldOutRules, refs []referenceFiles,
) error {
	l := newLedger(heldOutSetStage)
	t.Report.Ledgers = append(t.Report.Ledgers, l)
	g := &heldOutGatherer{t: t, ledger: l, seen: map[uint64]string{}, references: map[uint64]bool{}, marks: map[Mark]int64{}}
	if rules.New != nil {
		g.judge = rules.New()
	}
	for _, ref := range refs {
		err := EachText(ctx, t.Inputs, ref.files, ref.rows, func(text string) error {
			g.references[ContentHash(text)] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := g.open(func() error {
		for _, n := range holders {
			if err := eachStored(ctx, t.FS, filepath.Join(n.dir(), file), g.add); err != nil {
				return err
			}
		}
		return nil
	})
	if n := l.Dropped[referenceReason]; n > 0 {
		t.Note("%d documents are rows of a reference, by which training text is chosen, and no part of the exam", n)
	}
	t.Figure("held-out", "%d documents: %d to select by, %d to judge by", l.Kept, g.marks[Select], g.marks[Judge])
	return err
}

// Why a held-out document is no part of the exam, beside the profile's rules: it is there
// already, or it is a row of a reference.
const (
	copyReason      = "copy"
	referenceReason = "reference"
)

type heldOutGatherer struct {
	t          *Task
	ledger     *Ledger
	seen       map[uint64]string // names of documents by content hash
	references map[uint64]bool
	judge      func(text string) string
	docs       *docWriter
	drops      *dropLog
	marks      map[Mark]int64
}

// open calls gather with the set and the drop log open for writing.
func (g *heldOutGatherer) open(gather func() error) error {
	return g.t.WriteFile(dropsName, func(w io.Writer) (err error) {
		if g.drops, err = newDropLog(w); err != nil {
			return err
		}
		err = g.t.WriteFile(heldOutName, func(w io.Writer) (err error) {
			g.docs = newDocWriter(w, g.t.run.storesPlain())
			return errors.Join(gather(), g.docs.Close())
		})
		return errors.Join(err, g.drops.Close())
	})
}

func (g *heldOutGatherer) add(d *Doc) error {
	l, src, bytes := g.ledger, g.ledger.source(d.Source), int64(len(d.Text))
	l.In, l.BytesIn, src.In = l.In+1, l.BytesIn+bytes, src.In+1
	hash := ContentHash(d.Text)
	reason := ""
	switch {
	case g.seen[hash] != "":
		reason = copyReason
	case g.references[hash]:
		reason = referenceReason
	case g.judge != nil:
		reason = g.judge(d.Text)
	}
	d.Mark = NoMark
	if reason != "" {
		return g.leaveOut(d, reason, g.seen[hash])
	}
	g.seen[hash] = d.Name()
	d.Mark = Judge
	if mix(hash)%selectShare == 0 {
		d.Mark = Select
	}
	g.marks[d.Mark]++
	l.Kept, l.BytesOut, src.Kept = l.Kept+1, l.BytesOut+bytes, src.Kept+1
	return g.docs.Write(d)
}

// leaveOut notes that a document is no part of the exam. Unless it is a copy of one that is
// known, it stays in the set without a mark: not for evaluation, and not for training either.
func (g *heldOutGatherer) leaveOut(d *Doc, reason, copyOf string) error {
	g.ledger.Dropped[reason]++
	rank := HashID(g.t.Plan.Seed, "example", d.Source, d.Path, d.Ref.Record)
	if g.ledger.wanted(reason, rank) {
		g.ledger.example(Example{reason, d.Source, d.Path, d.Ref.Record, 0, copyOf, excerpt(d.Text), rank})
	}
	drop := Drop{Source: d.Source, File: d.Path, Row: d.Ref.Record, Stage: heldOutSetStage, Reason: reason,
		Value: math.NaN(), Matched: copyOf, Detail: leftOutDetail}
	if g.t.Plan.KeepDropped {
		drop.Text = d.Text
	}
	if err := g.drops.Write(drop); err != nil || reason == copyReason {
		return err
	}
	g.seen[ContentHash(d.Text)] = d.Name()
	return g.docs.Write(d)
}

// leftOutDetail is what the drop log says about such a document.
const leftOutDetail = "held out, and no part of the exam"
