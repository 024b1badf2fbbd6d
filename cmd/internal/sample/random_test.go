package sample

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// TestWriteRandom checks that each architecture's folder opens, computes, and is the same again.
func TestWriteRandom(t *testing.T) {
	fsys := store.OS()
	for _, arch := range Architectures() {
		first, second := t.TempDir(), t.TempDir()
		opt := RandomOptions{Architecture: arch, Size: "tiny", Seed: 3}
		sum, err := WriteRandom(context.Background(), fsys, first, opt)
		if err != nil {
			t.Fatal(err)
		}
		opt.Workers = 3
		if _, err := WriteRandom(context.Background(), fsys, second, opt); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(sum.Files, model.ConfigFile, "tokenizer.json") {
			a, err1 := store.ReadAll(fsys, filepath.Join(first, name))
			b, err2 := store.ReadAll(fsys, filepath.Join(second, name))
			if err1 != nil || err2 != nil || string(a) != string(b) {
				t.Errorf("%s: %s differs with workers; %v, %v", arch, name, err1, err2)
			}
		}
		m, err := model.Open(fsys, first, tensor.New(tensor.Plain(), 1))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenize.Load(fsys, filepath.Join(first, "tokenizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		ids := tok.Encode(nil, "What is the sum of the first ten numbers?")
		loss, n, err := m.Loss(context.Background(), model.Batch{Sequences: 1, Length: len(ids), Tokens: ids, Targets: ids}, nil)
		if per := loss / float64(n); err != nil || !(per > 5 && per < 9) {
			t.Errorf("%s: a loss of %v nats for each token, %v", arch, per, err)
		}
	}
}

// TestFullSizes checks the published models' numbers of parameters.
func TestFullSizes(t *testing.T) {
	for arch, want := range map[string]int64{
		"deepseek_v2": 15_706_484_224, "qwen3_moe": 30_532_122_624, "olmoe": 6_919_161_856,
		"llama": 1_235_814_400, "qwen2": 494_032_768, "qwen3": 596_049_920,
	} {
		weights, err := model.Shapes(fullSizes()[arch])
		if err != nil {
			t.Fatal(err)
		}
		shards, sum := cutShards(weights, 2)
		if sum.Parameters != want || len(shards) != len(sum.Files) || int64(len(shards)) < sum.Bytes/shardBytesMax {
			t.Errorf("%s: %d parameters in %d shards, want %d", arch, sum.Parameters, len(shards), want)
		}
	}
}

// TestRandomRefuses checks the errors.
func TestRandomRefuses(t *testing.T) {
	for want, opt := range map[string]RandomOptions{
		`model "gpt2": want one of`: {Architecture: "gpt2", Size: "tiny"},
		`size "huge": want one of`:  {Architecture: "llama", Size: "huge"},
	} {
		if _, err := WriteRandom(context.Background(), store.OS(), t.TempDir(), opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	opt := RandomOptions{Architecture: "llama", Size: "tiny"}
	if _, err := WriteRandom(ctx, store.OS(), t.TempDir(), opt); err == nil {
		t.Error("a canceled call ended well")
	}
}
