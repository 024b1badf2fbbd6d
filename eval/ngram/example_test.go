package ngram_test

import (
	"bytes"
	"fmt"

	"bzdata/eval/ngram"
	"bzdata/tokenize/words"
)

// A model of arithmetic finds one sentence likelier than the other.
func Example() {
	trainer, err := ngram.NewTrainer(ngram.Config{Order: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"two and two is four", "two and three is five", "one and two is three"} {
		trainer.Add(words.AppendHashes(nil, text))
	}
	model, err := trainer.Train()
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	if _, err := model.WriteTo(&file); err != nil {
		fmt.Println(err)
		return
	}
	if model, err = ngram.Read(&file); err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"three and two is five", "five is two three and"} {
		fmt.Printf("%.1f\n", ngram.Perplexity(model.Score(words.AppendHashes(nil, text))))
	}
	// Output:
	// 5.1
	// 19.1
}
