package model

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bzdata/train/tensor"
)

// TestRecompute checks that keeping only the layers' inputs gives the same bits, with the load-balancing loss too.
func TestRecompute(t *testing.T) {
	latent, err := ParseConfig(fmt.Appendf(nil, configs()["deepseek_v2"], `,"num_experts_per_tok":2,"n_shared_experts":1`))
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{"grouped": tinyConfig(), "latent": latent} {
		b := randomBatch(cfg, 2, 70, 9)
		kept, again := newModel(t, cfg, "auto", 2), newModel(t, cfg, "auto", 2)
		again.SetRecompute(true)
		for _, trained := range []string{"", "layers.1.", "experts.1."} {
			keep := func(name string) bool { return strings.Contains(name, trained) }
			kept.SetTrainable(keep)
			again.SetTrainable(keep)
			for step := range 2 {
				do := Balance{Scale: 0.3}
				sum, _, aux, err := kept.BackwardBalanced(context.Background(), b, 0.5, do)
				if err != nil {
					t.Fatal(err)
				}
				sum2, _, aux2, err := again.BackwardBalanced(context.Background(), b, 0.5, do)
				if err != nil || sum != sum2 || aux != aux2 {
					t.Fatalf("%s %q step %d: %v %v, want %v %v: %v", name, trained, step, sum2, aux2, sum, aux, err)
				}
			}
			for i, p := range kept.Params() {
				if !slices.Equal(p.Gradient(), again.Params()[i].Gradient()) {
					t.Errorf("%s %q: another gradient of %s", name, trained, p.Name)
				}
			}
		}
	}
}

// lite is DeepSeek-V2-Lite's shape.
const lite = `{"model_type":"deepseek_v2","hidden_size":2048,"num_hidden_layers":27,"num_attention_heads":16,"vocab_size":102400,
	"n_routed_experts":64,"n_shared_experts":2,"num_experts_per_tok":6,"moe_intermediate_size":1408,"intermediate_size":10944,
	"first_k_dense_replace":1,"kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128}`

// TestFootprint compares the counted memory of a model of 15.7 billion weights with what can be said by hand.
func TestFootprint(t *testing.T) {
	cfg, err := ParseConfig([]byte(lite))
	if err != nil {
		t.Fatal(err)
	}
	own := map[int][]int32{}
	for l := 1; l < cfg.NumHiddenLayers; l++ {
		own[l] = []int32{0, 1, 2, 3, 4, 5, 6, 7}
	}
	job := Job{Trains: func(name string) bool { return strings.Contains(name, ".experts.") }, Hold: Hold{Own: own}, Sequences: 1, Length: 1024}
	const experts = 26 * 8 * 3 * 2048 * 1408
	for _, c := range []struct {
		precision               tensor.Precision
		master, moments, onHost int64
	}{
		{tensor.Single, 0, 8, 0}, {tensor.Half, 2, 8, 0}, {tensor.HalfAdam8, 2, 2, 0}, {tensor.HalfHost, 2, 0, 8},
	} {
		job.Precision, job.Recompute = c.precision, false
		use, err := Footprint(cfg, job)
		if err != nil {
			t.Fatal(err)
		}
		job.Recompute = true
		again, err := Footprint(cfg, job)
		if err != nil || again.Activations >= use.Activations/4 || again.Weights != use.Weights {
			t.Errorf("%s: %+v computed once more, %+v kept: %v", c.precision, again, use, err)
		}
		near := func(what string, got, want int64) {
			if got < want || got > want+want/50 {
				t.Errorf("%s: %d bytes of %s, want %d", c.precision, got, what, want)
			}
		}
		near("gradients", use.Gradients, 4*experts)
		near("masters", use.Masters, c.master*experts)
		near("moments", use.Moments, c.moments*experts)
		near("moments of the host", use.MomentsHost, c.onHost*experts)
	}
	job.Own, job.Trains = nil, nil
	use, err := Footprint(cfg, job)
	if want := int64(2 * 15_706_484_224); err != nil || use.Weights < want || use.Weights > want+want/1000 {
		t.Errorf("%d bytes of weights, want %d: %v", use.Weights, want, err)
	}
}

// TestFitting checks which way is chosen for cards of several sizes: one of 24 GB trains eight experts of each layer of a
// model of 15.7 billion weights.
func TestFitting(t *testing.T) {
	cfg, err := ParseConfig([]byte(lite))
	if err != nil {
		t.Fatal(err)
	}
	job := Job{Sequences: 1, Length: 1024, Trains: func(name string) bool {
		_, expert, ok := strings.Cut(name, ".experts.")
		return ok && expert[0] < '8' && expert[1] == '.'
	}}
	for _, c := range []struct {
		card, host float64 // GB
		want       string  // the beginning and the end of the line, or the error
	}{
		{140, 200, "bf16: 60."}, {59, 200, "bf16: 57."}, {55, 200, "bf16-adam8: 50."}, {44, 200, "bf16-host: 42."},
		{42, 200, "bf16: 3"}, {22.5, 200, "bf16-adam8: 2"}, {22.5, 8, "the job takes more"}, {10, 200, "the job takes more"},
	} {
		f, err := Fitting(cfg, job, "", int64(c.card*1e9), int64(c.host*1e9))
		line := f.String()
		if err != nil {
			line = err.Error()
		}
		if !strings.HasPrefix(line, c.want) {
			t.Errorf("%v GB and %v GB of the host: %s, want %s…", c.card, c.host, line, c.want)
		}
		t.Log(c.card, line)
	}
	if f, err := Fitting(cfg, job, tensor.Single, 200e9, 0); err != nil || f.Precision != tensor.Single {
		t.Errorf("f32 on a large card: %v, %v", f, err)
	}
}
