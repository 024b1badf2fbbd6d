package train

import "math"

// Schedule is how the learning rate goes over the steps. All rise linearly from 0 over the warm-up:
// the first step after a warm-up's beginning has rate 0, as PyTorch's LambdaLR makes it.
type Schedule string

const (
	// Cosine falls from the top to 0 along half a cosine: transformers' get_cosine_schedule_with_warmup.
	Cosine Schedule = "cosine"
	// Constant stays at the top: transformers' get_constant_schedule_with_warmup.
	Constant Schedule = "constant"
	// WSD (warm-up, stable, decay) stays at the top and falls to 0 over the last DecaySteps as
	// 1-√progress: transformers' get_wsd_schedule with decay_type "1-sqrt" (Hägele et al. 2024, "Scaling
	// Laws and Compute-Optimal Training Beyond Fixed Training Durations").
	WSD Schedule = "wsd"
)

func (c Config) scheduleSteps() int {
	if c.TotalSteps > 0 {
		return c.TotalSteps
	}
	return c.MaxSteps
}

// Rate is the learning rate of a step, counted from 0.
func (c Config) Rate(step int) float64 {
	if step < c.WarmupSteps {
		return c.LearningRate * float64(step) / float64(c.WarmupSteps)
	}
	total := c.scheduleSteps()
	switch c.Schedule {
	case Cosine:
		progress := float64(step-c.WarmupSteps) / float64(max(1, total-c.WarmupSteps))
		return c.LearningRate * max(0, 0.5*(1+math.Cos(math.Pi*progress)))
	case WSD:
		start := total - c.DecaySteps
		if step < start {
			return c.LearningRate
		}
		progress := float64(step-start) / float64(max(1, c.DecaySteps))
		return c.LearningRate * max(0, 1-math.Sqrt(progress))
	default:
		return c.LearningRate
	}
}

// Fit returns the configuration for a run of the given number of steps, whose schedule ends with it.
// Warm-up is cut to a tenth of the steps, decay to half of them.
func (c Config) Fit(steps int) Config {
	c.MaxSteps, c.TotalSteps = steps, 0
	c.WarmupSteps = min(c.WarmupSteps, steps/10)
	c.DecaySteps = min(c.DecaySteps, steps/2)
	return c
}
