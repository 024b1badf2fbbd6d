package ngram

import (
	"math"
	"math/rand/v2"
	"testing"
)

// zipf is documents of 200 words each whose words and word pairs are distributed much
// as in text: half the words are drawn from a distribution 1/rank over the vocabulary,
// the others from one of 64 successors of the word before.
func zipf(seed uint64, documents int) [][]uint64 {
	const vocabulary = 50_000
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([][]uint64, documents)
	for i := range out {
		var word uint64
		for range 200 {
			rank := uint64(math.Exp(r.Float64() * math.Log(vocabulary)))
			if r.IntN(2) == 0 {
				rank = (word*64 + rank%64) * 0x9e3779b97f4a7c15 >> 32 % vocabulary
			}
			word = rank
			out[i] = append(out[i], (word+1)*0xd6e8feb86659fd93)
		}
	}
	return out
}

func trainOn(b testing.TB, cfg Config, documents [][]uint64) *Model {
	b.Helper()
	trainer, err := NewTrainer(cfg)
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range documents {
		trainer.Add(d)
	}
	m, err := trainer.Train()
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkTrain trains on 1 million words; words/s and bytes of the model per distinct
// n-gram are reported.
func BenchmarkTrain(b *testing.B) {
	documents := zipf(1, 5000)
	var m *Model
	for b.Loop() {
		m = trainOn(b, Config{}, documents)
	}
	grams := 0
	for _, s := range m.Stats() {
		grams += s.NGrams
	}
	b.ReportMetric(float64(200*len(documents)*b.N)/b.Elapsed().Seconds(), "words/s")
	b.ReportMetric(float64(m.MemoryBytes())/float64(grams), "B/ngram")
	b.ReportMetric(float64(len(m.body))/float64(grams), "file-B/ngram")
}

// BenchmarkScore scores documents that were not trained on with a model of 1 million
// words.
func BenchmarkScore(b *testing.B) {
	m := trainOn(b, Config{}, zipf(1, 5000))
	documents := zipf(2, 1000)
	for b.Loop() {
		for _, d := range documents {
			m.Score(d)
		}
	}
	b.ReportMetric(float64(200*len(documents)*b.N)/b.Elapsed().Seconds(), "words/s")
}
