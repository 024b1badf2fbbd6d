package stages

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"bzdata/eval"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// TrialTokens is what tokenize has made of a plan's documents.
type TrialTokens struct {
	// TrainKey and JudgeKey name the training and the judging text: equal keys are equal texts in
	// equal order, packed alike.
	TrainKey, JudgeKey string
	// Documents, Sequences and Tokens are those for training.
	Documents, Sequences, Tokens int64
	// Select is the number of sequences that choices may go by.
	Select int64
}

// ReadTrialTokens reads what the tokenize stage of a label has made in the last run of a work
// directory.
func ReadTrialTokens(fsys store.FS, workdir, label string) (TrialTokens, error) {
	var meta tokensMeta
	if err := readStageJSON(fsys, workdir, label, "tokens/tokens.json", &meta); err != nil {
		return TrialTokens{}, err
	}
	train := meta.Parts["train"]
	return TrialTokens{TrainKey: train.DataKey, JudgeKey: meta.Parts["judge"].DataKey,
		Documents: train.Documents, Sequences: train.Sequences, Tokens: train.Tokens,
		Select: meta.Parts["select"].Sequences}, nil
}

// ReadJudged reads the losses of held-out documents that the proof_of_loss stage of a label has
// measured in the last run of a work directory, whatever its verdict was.
func ReadJudged(fsys store.FS, workdir, label string) (eval.Judged, error) {
	var j eval.Judged
	err := readStageJSON(fsys, workdir, label, judgedName, &j)
	return j, err
}

// ReadUpdateMeta reads how the train stage of a label has trained in the last run of a work directory.
func ReadUpdateMeta(fsys store.FS, workdir, label string) (UpdateMeta, error) {
	var meta UpdateMeta
	err := readStageJSON(fsys, workdir, label, "update/"+updateJSON, &meta)
	return meta, err
}

func readStageJSON(fsys store.FS, workdir, label, name string, into any) error {
	dir, err := pipeline.StageDir(fsys, workdir, label)
	if err != nil {
		return err
	}
	name = filepath.Join(dir, filepath.FromSlash(name))
	data, err := store.ReadAll(fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
