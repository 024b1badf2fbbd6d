// Package train runs the training loop of a model: batches in a seeded order, AdamW, learning
// rate schedules, gradient accumulation and clipping, a policy for losses and gradients that are
// no numbers, held-out evaluation with the best weights kept, and exact resume.
//
// # A step
//
// A step reads [Config.AccumulationSteps] batches of [Config.BatchSize] sequences. Their gradients
// are summed, weighted as [Config.Mean] says, then clipped to a global norm as PyTorch's
// clip_grad_norm_ does, factor min(1, max_norm/(norm+1e-6)), and applied by AdamW in single
// precision. Only trainable tensors (see [model.Model.SetTrainable]) have a gradient and moments.
// A position predicts the token after it; a token that its sequence does not mark as a target
// counts neither in the loss nor in the number of tokens.
//
// Training a small DeepSeek-V2 for 50 steps comes to PyTorch's losses and gradient norms, and its routers
// choose the same experts, for all weights and for some experts only: see testdata/parity.py.
//
// Sequences come in an order drawn anew for each epoch from the seed and the epoch's number; none
// comes twice before all have come once. A batch may span two epochs.
//
// # Numbers that are none
//
// A batch whose loss is NaN or infinite, or a tensor whose gradient holds such a value, ends the run
// with a [NonFiniteError] ([Raise]), or is left out of the step ([Skip]): the batch as if it had not
// been drawn, the tensor as if its gradient did not exist, so that its weights, moments and its own
// count of updates stay. More than [Config.SkipsMax] such batches in a row end the run all the same;
// the batches of a step that dropped a tensor count among them. The order and the learning rate
// schedule go on over a step that skipped everything. With [Checkpoints.FallBack], a run that would end so
// behind its first state ends with the weights of its best evaluation, or of its newest state, instead.
//
// # Held-out loss
//
// [Hooks.Evaluate] is called before the first step, then every [Config.EvalSteps] steps and after the
// last. The first call only tells where training began. Of the others the lowest finite loss is the
// best, the earlier one among equals, and when the run ends, the trainable weights are those of the
// best evaluation, not of the last step.
//
// # Checkpoints and resume
//
// With [Checkpoints.Dir] set, the state is kept in that directory, which is the run's own:
//
//	step-00000040.safetensors  weights/NAME, first_moment/NAME, second_moment/NAME, all F32
//	step-00000040.json         {"sha256":"of the value of state","state":{…}}
//	best-00000030.safetensors  weights/NAME of the best evaluation
//
// The JSON file is written last and holds version, build, kernel set, the hash of the configuration,
// position, metrics, evaluations and skips so far, and the length and SHA-256 of the other files. The
// last two states are kept. A run resumed from any of them ends in the same bits as one that was
// never interrupted, for any number of workers: a step that was cut off begins again, since no
// weight changes before its gradient is whole.
//
// A damaged state falls back to the one before it, then to the beginning. A state of another build or
// format begins again too. A state of another configuration, or of the same build on another kernel
// set, is a [ResumeError].
package train
