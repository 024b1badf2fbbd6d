package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// RandomOptions say what [WriteRandom] writes.
type RandomOptions struct {
	Architecture string // one of [Architectures]
	Size         string // one of [Sizes]
	Seed         uint64
	// Workers is how many shards are written at a time, 1 if 0. It changes no byte.
	Workers  int
	Progress func(stage string, done, total float64)
}

// Architectures lists the models that [WriteRandom] knows.
func Architectures() []string { return slices.Sorted(maps.Keys(fullSizes())) }

// Sizes lists the sizes of each: tiny for tests, small for benchmarks, both in single precision with
// the sample's tokenizer and its vocabulary; full is that of a published model, in bfloat16.
func Sizes() []string { return []string{"tiny", "small", "full"} }

// RandomSummary says what was written.
type RandomSummary struct {
	Parameters int64
	Bytes      int64 // of the weights
	Files      []string
}

// shardBytesMax is how large a file of weights becomes unless one tensor is larger.
const shardBytesMax = 4 << 30

// WriteRandom writes a model folder of an architecture with random weights: config.json, safetensors with
// an index, and the sample's tokenizer. Weights are made tensor by tensor, so that a full model
// needs little memory. The same options give the same bytes.
func WriteRandom(ctx context.Context, fsys store.FS, dir string, opt RandomOptions) (RandomSummary, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return RandomSummary{}, err
	}
	c, err := newCorpus(documentsDefault, opt.Seed)
	if err != nil {
		return RandomSummary{}, err
	}
	w := &writer{c: c, fsys: fsys, dir: dir}
	tok, err := w.tokenizer(ctx, dir)
	if err != nil {
		return RandomSummary{}, err
	}
	cfg, err := randomConfig(opt, tok)
	if err != nil {
		return RandomSummary{}, err
	}
	if err := w.randomConfigFile(dir, cfg); err != nil {
		return RandomSummary{}, err
	}
	return w.randomWeights(ctx, dir, cfg, opt)
}

// randomConfig is an architecture at a size.
func randomConfig(opt RandomOptions, tok *tokenize.Tokenizer) (model.Config, error) {
	cfg, ok := fullSizes()[opt.Architecture]
	if !ok {
		return cfg, fmt.Errorf("model %q: want one of %s", opt.Architecture, strings.Join(Architectures(), ", "))
	}
	switch opt.Size {
	case "tiny":
		shrink(&cfg, 64, 3, 64, 8)
	case "small":
		shrink(&cfg, 512, 4, 384, 16)
	case "full":
		return cfg, nil
	default:
		return cfg, fmt.Errorf("size %q: want one of %s", opt.Size, strings.Join(Sizes(), ", "))
	}
	cfg.VocabSize, cfg.TorchDtype = tok.VocabSize(), "float32"
	end, _ := tok.EOS()
	pad, _ := tok.Pad()
	cfg.BOSTokenID, cfg.EOSTokenID, cfg.PadTokenID = nil, &end, &pad
	return cfg, nil
}

// shrink keeps the kind of a model and makes it small: 8 heads, experts of the given width, half
// as many for each token as before.
func shrink(cfg *model.Config, hidden, layers, width, experts int) {
	cfg.HiddenSize, cfg.NumHiddenLayers, cfg.NumAttentionHeads = hidden, layers, 8
	cfg.NumKeyValueHeads = min(cfg.NumKeyValueHeads, 8)
	cfg.IntermediateSize = 3 * hidden
	if cfg.HeadDim = hidden / 8; cfg.KVLoraRank > 0 {
		cfg.HeadDim, cfg.KVLoraRank = 0, hidden/4
		cfg.QKNopeHeadDim, cfg.QKRopeHeadDim, cfg.VHeadDim = hidden/8, hidden/16, hidden/8
	}
	if cfg.NumExpertsPerTok == 0 {
		return
	}
	cfg.NumExpertsPerTok /= 2
	if cfg.ModelType == "olmoe" {
		cfg.IntermediateSize = width
	} else {
		cfg.MoeIntermediateSize = width
	}
	if cfg.NumExperts > 0 {
		cfg.NumExperts = experts
	} else {
		cfg.NRoutedExperts = experts
	}
}

// fullSizes are published models by architecture, with the numbers of their config.json.
func fullSizes() map[string]model.Config {
	base := model.Config{RoutedScalingFactor: 1, RMSNormEps: 1e-6, RopeTheta: 1e6, InitializerRange: 0.02, TorchDtype: "bfloat16"}
	with := func(set func(c *model.Config)) model.Config {
		c := base
		set(&c)
		return c
	}
	return map[string]model.Config{
		"deepseek_v2": with(func(c *model.Config) { // DeepSeek-V2-Lite
			c.ModelType, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize = "deepseek_v2", 2048, 27, 16, 102400
			c.NumKeyValueHeads, c.IntermediateSize, c.FirstKDenseReplace, c.MoeIntermediateSize = 16, 10944, 1, 1408
			c.NRoutedExperts, c.NSharedExperts, c.NumExpertsPerTok, c.TopkMethod, c.NGroup, c.TopkGroup = 64, 2, 6, "greedy", 1, 1
			c.KVLoraRank, c.QKNopeHeadDim, c.QKRopeHeadDim, c.VHeadDim = 512, 128, 64, 128
			c.RopeTheta, c.MaxPositionEmbeddings = 10000, 163840
			c.RopeScaling = &model.RopeScaling{Type: "yarn", Factor: 40, OriginalMax: 4096, BetaFast: 32, BetaSlow: 1,
				MScale: 0.707, MScaleAllDim: 0.707}
		}),
		"qwen3_moe": with(func(c *model.Config) { // Qwen3-30B-A3B
			c.ModelType, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize = "qwen3_moe", 2048, 48, 32, 151936
			c.NumKeyValueHeads, c.HeadDim, c.IntermediateSize, c.MoeIntermediateSize = 4, 128, 6144, 768
			c.NumExperts, c.NumExpertsPerTok, c.NormTopkProb, c.DecoderSparseStep = 128, 8, true, 1
			c.MaxPositionEmbeddings = 40960
		}),
		"olmoe": with(func(c *model.Config) { // OLMoE-1B-7B-0924
			c.ModelType, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize = "olmoe", 2048, 16, 16, 50304
			c.NumKeyValueHeads, c.IntermediateSize, c.NumExperts, c.NumExpertsPerTok = 16, 1024, 64, 8
			c.RMSNormEps, c.RopeTheta, c.MaxPositionEmbeddings = 1e-5, 10000, 4096
		}),
		"llama": with(func(c *model.Config) { // Llama-3.2-1B
			c.ModelType, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize = "llama", 2048, 16, 32, 128256
			c.NumKeyValueHeads, c.HeadDim, c.IntermediateSize, c.TieWordEmbeddings = 8, 64, 8192, true
			c.RMSNormEps, c.RopeTheta, c.MaxPositionEmbeddings = 1e-5, 500000, 131072
			c.RopeScaling = &model.RopeScaling{RopeType: "llama3", Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4,
				OriginalMax: 8192}
		}),
		"qwen2": with(func(c *model.Config) { // Qwen2.5-0.5B
			c.ModelType, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize = "qwen2", 896, 24, 14, 151936
			c.NumKeyValueHeads, c.IntermediateSize, c.TieWordEmbeddings, c.MaxPositionEmbeddings = 2, 4864, true, 32768
		}),
		"qwen3": with(func(c *model.Config) { // Qwen3-0.6B
			c.ModelType, c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize = "qwen3", 1024, 28, 16, 151936
			c.NumKeyValueHeads, c.HeadDim, c.IntermediateSize, c.TieWordEmbeddings = 8, 128, 3072, true
			c.MaxPositionEmbeddings = 40960
		}),
	}
}

// randomConfigFile writes config.json with what other programs ask for besides.
func (w *writer) randomConfigFile(dir string, cfg model.Config) error {
	data, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	maps.DeleteFunc(fields, func(name string, v any) bool {
		return v == nil || v == 0. && !strings.HasSuffix(name, "_token_id")
	})
	fields["hidden_act"] = "silu"
	// transformers insists on a point.
	fields["routed_scaling_factor"] = json.RawMessage(fmt.Sprintf("%.1f", cfg.RoutedScalingFactor))
	if cfg.KVLoraRank > 0 && cfg.QLoraRank == 0 {
		fields["q_lora_rank"] = nil // absent, it means another number
	}
	if data, err = json.MarshalIndent(fields, "", "  "); err != nil {
		return err
	}
	return store.WriteBytes(w.fsys, filepath.Join(dir, model.ConfigFile), append(data, '\n'))
}

// randomWeights writes the shards, several at a time, and the index last.
func (w *writer) randomWeights(ctx context.Context, dir string, cfg model.Config, opt RandomOptions) (RandomSummary, error) {
	dtype := checkpoint.F32
	if cfg.TorchDtype == "bfloat16" {
		dtype = checkpoint.BF16
	}
	weights, err := model.Shapes(cfg)
	if err != nil {
		return RandomSummary{}, err
	}
	shards, sum := cutShards(weights, int64(dtype.Bits()/8))
	var done atomic.Int64
	next := make(chan int, len(shards))
	for i := range shards {
		next <- i
	}
	close(next)
	errs := make([]error, len(shards))
	var group sync.WaitGroup
	for range max(1, opt.Workers) {
		group.Go(func() {
			for i := range next {
				errs[i] = w.randomShard(ctx, filepath.Join(dir, sum.Files[i]), shards[i], dtype, opt, func(n int64) {
					if opt.Progress != nil {
						opt.Progress("weights", float64(done.Add(n)), float64(sum.Bytes))
					}
				})
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return RandomSummary{}, err
	}
	return sum, w.randomIndex(dir, shards, sum)
}

// cutShards shares weights out among files, in order.
func cutShards(weights []model.Param, width int64) ([][]model.Param, RandomSummary) {
	var shards [][]model.Param
	var sum RandomSummary
	room := int64(0)
	for _, p := range weights {
		n := int64(1)
		for _, d := range p.Shape {
			n *= int64(d)
		}
		sum.Parameters += n
		sum.Bytes += n * width
		if room -= n * width; room < 0 || len(shards) == 0 {
			shards, room = append(shards, nil), shardBytesMax-n*width
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], p)
	}
	for i := range shards {
		sum.Files = append(sum.Files, fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards)))
	}
	if len(shards) == 1 {
		sum.Files = []string{checkpoint.SingleFile}
	}
	return shards, sum
}

func (w *writer) randomShard(ctx context.Context, path string, weights []model.Param, dtype checkpoint.DType,
	opt RandomOptions, wrote func(bytes int64)) error {
	var tensors []checkpoint.Tensor
	for _, p := range weights {
		tensors = append(tensors, checkpoint.Tensor{Name: p.Name, DType: dtype, Shape: p.Shape, Read: func() ([]byte, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			data, err := checkpoint.FromFloat32(dtype, p.Random(opt.Seed, randomDeviation))
			wrote(int64(len(data)))
			return data, err
		}})
	}
	return store.WriteFile(w.fsys, path, func(out io.Writer) error {
		return checkpoint.Write(out, tensors, map[string]string{"format": "pt"})
	})
}

// randomDeviation is the usual initializer_range.
const randomDeviation = 0.02

func (w *writer) randomIndex(dir string, shards [][]model.Param, sum RandomSummary) error {
	if len(shards) == 1 {
		return nil
	}
	where := map[string]string{}
	for i, weights := range shards {
		for _, p := range weights {
			where[p.Name] = sum.Files[i]
		}
	}
	index := map[string]any{"metadata": map[string]any{"total_size": sum.Bytes}, "weight_map": where}
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return store.WriteBytes(w.fsys, filepath.Join(dir, checkpoint.IndexFile), append(data, '\n'))
}
