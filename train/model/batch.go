package model

import "fmt"

// Batch is some sequences of one length, stored one after the other.
type Batch struct {
	// Sequences and Length are the batch's shape.
	Sequences int
	Length    int
	// Tokens are the inputs, Sequences*Length of them.
	Tokens []int32
	// Targets are the tokens to predict at each position, as many; -1 is not counted.
	Targets []int32
}

func (b Batch) positions() int { return b.Sequences * b.Length }

// check reports what makes the batch unfit for a model.
func (b Batch) check(cfg Config, targets bool) error {
	if b.Sequences < 1 || b.Length < 1 {
		return fmt.Errorf("batch of %d sequences of %d tokens; both must be at least 1",
			b.Sequences, b.Length)
	}
	if cfg.MaxPositionEmbeddings > 0 && b.Length > cfg.MaxPositionEmbeddings {
		return fmt.Errorf("sequences of %d tokens are longer than max_position_embeddings %d",
			b.Length, cfg.MaxPositionEmbeddings)
	}
	if err := checkIDs("token", b.Tokens, b.positions(), 0, cfg.VocabSize); err != nil || !targets {
		return err
	}
	return checkIDs("target", b.Targets, b.positions(), -1, cfg.VocabSize)
}

func checkIDs(what string, ids []int32, want int, least int32, vocab int) error {
	if len(ids) != want {
		return fmt.Errorf("batch has %d %ss; its shape asks for %d", len(ids), what, want)
	}
	for i, id := range ids {
		if id < least || int(id) >= vocab {
			return fmt.Errorf("%s %d at position %d is outside [%d, %d); is this the model's tokenizer?",
				what, id, i, least, vocab)
		}
	}
	return nil
}
