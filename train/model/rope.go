package model

import (
	"cmp"
	"fmt"
	"math"

	"bzdata/train/tensor"
)

// RopeScaling is how rotary embedding is stretched beyond the length that a model was first trained
// at, in Hugging Face's names. Absent numbers are 0.
type RopeScaling struct {
	// RopeType is default, linear, yarn or llama3; older files call it type.
	RopeType string `json:"rope_type,omitempty"`
	Type     string `json:"type,omitempty"`
	// RopeTheta is config.json's rope_theta in newer files.
	RopeTheta           float64 `json:"rope_theta,omitempty"`
	Factor              float64 `json:"factor,omitempty"`
	OriginalMax         float64 `json:"original_max_position_embeddings,omitempty"`
	BetaFast            float64 `json:"beta_fast,omitempty"`
	BetaSlow            float64 `json:"beta_slow,omitempty"`
	MScale              float64 `json:"mscale,omitempty"`
	MScaleAllDim        float64 `json:"mscale_all_dim,omitempty"`
	AttentionFactor     float64 `json:"attention_factor,omitempty"`
	LowFreqFactor       float64 `json:"low_freq_factor,omitempty"`
	HighFreqFactor      float64 `json:"high_freq_factor,omitempty"`
	Truncate            *bool   `json:"truncate,omitempty"`
	PartialRotaryFactor float64 `json:"partial_rotary_factor,omitempty"`
}

// kind is the type of a scaling that may be nil.
func (s *RopeScaling) kind() string {
	switch {
	case s == nil:
		return "default"
	case s.RopeType != "":
		return s.RopeType
	case s.Type != "":
		return s.Type
	}
	return "default"
}

// validateRope checks the scaling and moves what newer files say in rope_parameters to where
// older ones have it.
func validateRope(cfg *Config) error {
	if cfg.RopeParameters != nil {
		s := *cfg.RopeParameters
		if s.RopeTheta > 0 {
			cfg.RopeTheta, s.RopeTheta = s.RopeTheta, 0
		}
		cfg.RopeParameters = nil
		if s.kind() != "default" || s.PartialRotaryFactor != 0 {
			cfg.RopeScaling = &s
		}
	}
	s := cfg.RopeScaling
	if s == nil {
		return nil
	}
	if s.PartialRotaryFactor != 0 && s.PartialRotaryFactor != 1 {
		return fmt.Errorf("rope_scaling: partial_rotary_factor %v is not supported; only 1 is", s.PartialRotaryFactor)
	}
	switch s.kind() {
	case "default":
		return nil
	case "linear":
		return positive("rope_scaling: factor", s.Factor)
	case "yarn":
		if err := positive("rope_scaling: factor", s.Factor); err != nil {
			return err
		}
		return cmp.Or(positive("rope_scaling: original_max_position_embeddings", s.OriginalMax), s.notNegative())
	case "llama3":
		for _, v := range []struct {
			name  string
			value float64
		}{{"factor", s.Factor}, {"low_freq_factor", s.LowFreqFactor}, {"high_freq_factor", s.HighFreqFactor},
			{"original_max_position_embeddings", s.OriginalMax}} {
			if err := positive("rope_scaling: "+v.name, v.value); err != nil {
				return err
			}
		}
		if s.HighFreqFactor <= s.LowFreqFactor {
			return fmt.Errorf("rope_scaling: high_freq_factor %v is not above low_freq_factor %v",
				s.HighFreqFactor, s.LowFreqFactor)
		}
		return nil
	}
	return fmt.Errorf("rope_scaling: type %.100q is not supported; only default, linear, yarn and llama3 are", s.kind())
}

// notNegative checks YaRN's numbers that may be absent.
func (s *RopeScaling) notNegative() error {
	for _, v := range []struct {
		name  string
		value float64
	}{{"beta_fast", s.BetaFast}, {"beta_slow", s.BetaSlow}, {"mscale", s.MScale}, {"mscale_all_dim", s.MScaleAllDim},
		{"attention_factor", s.AttentionFactor}} {
		if v.value < 0 {
			return fmt.Errorf("rope_scaling: %s is %v; it must not be negative", v.name, v.value)
		}
	}
	return nil
}

func positive(name string, value float64) error {
	if !(value > 0) || math.IsInf(value, 0) {
		return fmt.Errorf("%s is %v; it must be greater than 0", name, value)
	}
	return nil
}

// frequencies returns the angle of each pair at position 1, and what cosines and sines are multiplied
// by. Roundings to single precision are where transformers has them, so that far positions
// agree with it (modeling_rope_utils.py of 5.24).
func frequencies(dim int, theta float64, s *RopeScaling) (angles []float32, factor float32) {
	angles = make([]float32, dim/2)
	for i := range angles {
		angles[i] = 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
	}
	switch s.kind() {
	case "linear":
		for i := range angles {
			angles[i] /= float32(s.Factor)
		}
	case "llama3":
		stretchLlama3(angles, s)
	case "yarn":
		stretchYarn(angles, dim, theta, s)
		return angles, float32(s.yarnAttention())
	}
	return angles, 1
}

// stretchLlama3 divides the frequencies of long waves by the factor, leaves those of short ones,
// and goes from one to the other between (Llama 3.1).
func stretchLlama3(angles []float32, s *RopeScaling) {
	long, short := s.OriginalMax/s.LowFreqFactor, s.OriginalMax/s.HighFreqFactor
	for i, f := range angles {
		wave := 2 * math.Pi / float64(f)
		switch {
		case wave > long:
			angles[i] = float32(float64(f) / s.Factor)
		case wave >= short:
			smooth := (s.OriginalMax/wave - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
			angles[i] = float32((1-smooth)*float64(f)/s.Factor + smooth*float64(f))
		}
	}
}

// stretchYarn goes from the frequencies as they are, for pairs that turn more than beta_fast
// times within the original length, to those divided by the factor, for pairs that turn
// less than beta_slow times (Peng et al. 2023, "YaRN", section 3.2).
func stretchYarn(angles []float32, dim int, theta float64, s *RopeScaling) {
	turns := func(n float64) float64 {
		return float64(dim) * math.Log(s.OriginalMax/(n*2*math.Pi)) / (2 * math.Log(theta))
	}
	fast, slow := s.BetaFast, s.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	low, high := turns(fast), turns(slow)
	if s.Truncate == nil || *s.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dim-1))
	if low == high {
		high += 0.001
	}
	for i, f := range angles {
		ramp := float32(min(max((float64(i)-low)/(high-low), 0), 1))
		keep := 1 - ramp
		angles[i] = f/float32(s.Factor)*(1-keep) + f*keep
	}
}

// yarnMScale is the factor on attention logits' square root for a stretch (YaRN, equation 22).
func yarnMScale(stretch, mscale float64) float64 {
	if stretch <= 1 {
		return 1
	}
	return 0.1*mscale*math.Log(stretch) + 1
}

// yarnAttention is what cosines and sines are multiplied by.
func (s *RopeScaling) yarnAttention() float64 {
	switch {
	case s.AttentionFactor != 0:
		return s.AttentionFactor
	case s.MScale != 0 && s.MScaleAllDim != 0:
		return yarnMScale(s.Factor, s.MScale) / yarnMScale(s.Factor, s.MScaleAllDim)
	}
	return yarnMScale(s.Factor, 1)
}

// angleTable holds the cosines and sines of rotary embedding: [length, half] for heads of 2*half.
type angleTable struct {
	half, length       int
	cos, sin, minusSin tensor.Array
}

// angles returns the table for positions below length.
func (m *Model) angles(length int) *angleTable {
	t := &m.state.angles
	if t.half = m.ropeDim / 2; t.length >= length {
		return t
	}
	n := length * t.half
	cos, sin, minusSin := make([]float32, n), make([]float32, n), make([]float32, n)
	turns, factor := frequencies(m.ropeDim, m.cfg.RopeTheta, m.cfg.RopeScaling)
	for i, f := range turns {
		for pos := range length {
			s, c := math.Sincos(float64(float32(pos) * f))
			at := pos*t.half + i
			cos[at], sin[at], minusSin[at] = float32(c)*factor, float32(s)*factor, float32(-s)*factor
		}
	}
	for _, to := range []struct {
		a      *tensor.Array
		values []float32
	}{{&t.cos, cos}, {&t.sin, sin}, {&t.minusSin, minusSin}} {
		m.dev.Grow(to.a, tensor.F32, n)
		m.dev.Upload(*to.a, to.values)
	}
	t.length = length
	return t
}

// rotate turns each head of each row by its position's angles; sin is t.sin or, for the
// derivative, t.minusSin.
func (t *angleTable) rotate(p *pass, x tensor.Heads, heads int, sin tensor.Array) {
	p.dev.Rotate(x, p.rows, heads, t.half, p.batch.Length, t.cos, sin)
}
