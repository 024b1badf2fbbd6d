package model_test

import (
	"context"
	"fmt"
	"strings"

	"bzdata/train/model"
	"bzdata/train/tensor"
)

// Two experts of a small random model are trained on one batch; all else stays frozen.
func Example() {
	config, err := model.ParseConfig([]byte(`{"model_type": "bz_moe", "hidden_size": 16,
		"num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20, "moe_intermediate_size": 8,
		"n_routed_experts": 4, "num_experts_per_tok": 2}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := model.New(config, tensor.New(tensor.Plain(), 2), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	kept := m.SetTrainable(func(name string) bool {
		return strings.Contains(name, "experts.0.") || strings.Contains(name, "experts.3.")
	})
	fmt.Println(kept, "trainable tensors of", len(m.Params()))

	batch := model.Batch{Sequences: 1, Length: 4, Tokens: []int32{3, 1, 4, 1}, Targets: []int32{1, 4, 1, -1}}
	rule := tensor.AdamW{LearningRate: 0.1, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, GradScale: 1}
	first, tokens, _ := m.Loss(context.Background(), batch, nil)
	moments := map[*model.Param]tensor.Moments{}
	for step := 1; step <= 40; step++ {
		m.ZeroGrad()
		if _, _, err := m.Backward(context.Background(), batch, 1/float32(tokens)); err != nil {
			fmt.Println(err)
			return
		}
		for _, p := range m.Params() {
			if !p.Trains() {
				continue
			}
			if step == 1 {
				moments[p] = m.Device().Moments(p.Elements())
			}
			m.Device().AdamW(rule, step, p.Weight(), moments[p])
		}
	}
	last, _, _ := m.Loss(context.Background(), batch, nil)
	fmt.Println("the loss falls:", last < first-0.5)
	// Output:
	// 6 trainable tensors of 22
	// the loss falls: true
}
