package sample

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"bzdata/eval/routing"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

const (
	expertsOfLayer = 8
	groupTexts     = 64 // problems by which the groups are chosen
)

// groupNames are the groups' folders, by id.
func groupNames() []string { return []string{"exp_problems", "exp_prose"} }

// chooseGroups shares every layer's experts out: the half that problems activate most
// makes group 0, the others make group 1. Running ids follow one another.
func (w *writer) chooseGroups(ctx context.Context, m *model.Model, tok *tokenize.Tokenizer) (
	[]checkpoint.Assignment, error) {
	acc, err := routing.NewAccumulator(m.Config().NRoutedExperts, m.Config().NumExpertsPerTok)
	if err != nil {
		return nil, err
	}
	texts := newMaker(w.c)
	for i := range int64(groupTexts) {
		texts.problem(streamGeneral, i)
		ids := tok.EncodeBytes(nil, append(append(texts.row.question, '\n'), texts.row.answer...))
		ids = ids[:min(len(ids), sequenceLength)]
		batch := model.Batch{Sequences: 1, Length: len(ids), Tokens: ids}
		var added error
		err := m.Routes(ctx, batch, func(r model.Route) {
			added = cmp.Or(added, acc.Add(r.Layer, r.Experts, r.Weights))
		})
		if err = cmp.Or(err, added); err != nil {
			return nil, err
		}
	}
	table, err := acc.Scores().Of("token")
	if err != nil {
		return nil, err
	}
	groups := []checkpoint.Assignment{{}, {}}
	for layer, scores := range table {
		for my, expert := range routing.Rank(scores) {
			id := my * len(groups) / len(scores)
			groups[id][layer] = append(groups[id][layer], checkpoint.Pair{My: my, Org: expert})
		}
	}
	return groups, nil
}

// groupFolders writes expert_groups/.
func (w *writer) groupFolders(groups []checkpoint.Assignment) error {
	root := filepath.Join(w.dir, groupsDir)
	if err := w.fsys.MkdirAll(root); err != nil {
		return err
	}
	for id, name := range groupNames() {
		g := &checkpoint.Group{Name: name, Assignment: groups[id]}
		g.Config = checkpoint.GroupConfig{GroupID: id, ExpertGroupName: name, Data: checkpoint.GroupData{
			DatasetSources: []checkpoint.DatasetSource{{Path: "runs/sample/out/data", Weight: 1,
				TextColumn: "text", Split: "train"}},
			BatchSize: 8, SequenceLength: sequenceLength, WorldSize: 10, ValiFraction: 0.1}}
		if err := g.Write(w.fsys, root); err != nil {
			return fmt.Errorf("expert groups: %w", err)
		}
	}
	return nil
}
