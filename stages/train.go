package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"bzdata/eval"
	"bzdata/pipeline"
	"bzdata/tokenize"
	"bzdata/train"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// Train is the configuration of the train stage.
type Train struct {
	// Trainable is one word, or patterns of tensor names.
	Trainable    pipeline.Texts `yaml:"trainable" network:"train.trainable" doc:"What is trained: experts, the routed ones of the expert group or of route's choice; all, every weight; or patterns of tensor names in the base model's files, of which a * stands for any text."`
	MaxSteps     int            `yaml:"max_steps" min:"1" network:"train.max_steps" doc:"Optimizer steps."`
	BatchSize    int            `yaml:"batch_size" min:"1" network:"train.batch_size" doc:"Sequences of one forward and backward pass."`
	Accumulation int            `yaml:"gradient_accumulation_steps" min:"1" network:"train.gradient_accumulation_steps" doc:"Batches of one optimizer step."`
	LearningRate float64        `yaml:"learning_rate" min:"0" max:"1" network:"train.learning_rate" doc:"Learning rate at the schedule's top."`
	Schedule     string         `yaml:"schedule" enum:"cosine|constant|wsd" network:"train.schedule" doc:"How the learning rate runs."`
	WarmupSteps  int            `yaml:"warmup_steps" min:"0" network:"train.warmup_steps" doc:"Steps of linear warm-up; at most a tenth of max_steps is used."`
	Beta1        float64        `yaml:"beta1" min:"0" max:"1" network:"train.beta1" doc:"AdamW's decay of the first moment."`
	Beta2        float64        `yaml:"beta2" min:"0" max:"1" network:"train.beta2" doc:"AdamW's decay of the second moment."`
	WeightDecay  float64        `yaml:"weight_decay" min:"0" network:"train.weight_decay" doc:"AdamW's decoupled weight decay."`
	ClipNorm     float64        `yaml:"clip_norm" min:"0" network:"train.clip_norm" doc:"Greatest global norm of a gradient; 0 sets no limit."`
	RouterAux    float64        `yaml:"router_aux_loss_coef" min:"0" network:"train.aux_loss_coefficient" doc:"What the routers' load-balancing loss of each batch is multiplied by and added to its loss; 0 leaves it out."`
	NonFinite    string         `yaml:"non_finite" enum:"raise|skip" network:"train.non_finite" doc:"What to do about a loss or gradient that is no finite number."`
	NonFiniteMax int            `yaml:"non_finite_max" min:"0" network:"train.non_finite_max" doc:"Batches that may be skipped in a row."`
	EvalSteps    int            `yaml:"eval_steps" min:"0" doc:"Steps between held-out losses on the select part, by which the best weights are kept; 0 measures at both ends only."`
	Checkpoint   int            `yaml:"checkpoint_steps" min:"0" doc:"Steps between states from which an interrupted run goes on."`
	DataPosition string         `yaml:"data_position" enum:"continue|restart" doc:"Where reading begins in a network's window: where the window before it ended, or at the tokens' beginning. Outside of windows it is always the beginning."`
	Optimizer    string         `yaml:"optimizer" enum:"reset|carry" doc:"Whether AdamW begins without moments in a network's window, or with those that the window before it left. Outside of windows it begins without."`
	Precision    string         `yaml:"precision" enum:"auto|f32|bf16|bf16-adam8|bf16-host" doc:"How a card keeps weights and the optimizer's state; auto takes the first of bf16, bf16-adam8 and bf16-host that fits. The processor computes in f32."`
	DType        string         `yaml:"dtype" enum:"F32|F16|BF16" network:"bundle.dtype" doc:"Type in which the update is stored."`
	Naming       string         `yaml:"naming" enum:"native|v2lite-fused|qwen3next" network:"bundle.naming" doc:"How the network names the update's tensors."`

	from int64 // sequences drawn in earlier windows, once that is known
}

func trainSpec() pipeline.Spec[Train] {
	return pipeline.Spec[Train]{
		Name: "train", Version: 3,
		Summary: "Trains the experts of the base model on the tokens.",
		Doc: code(`
Continues the base model with AdamW on the ‹train› tokens, in a seeded order in which no sequence comes
twice before all have come once. With ‹trainable: experts› only routed experts change: those of
‹network.expert_group›, which may be ‹auto› for the group that ‹route› ranks first, or, without a group, those
that ‹route› chose. A list of patterns names tensors as the base model's files do: ‹[model.norm.weight,
"model.layers.2[5-7].mlp.experts.*"]›, with ‹naming: native›; one that no tensor matches is refused before
anything runs. Everything else stays frozen. Where there is a ‹select› part, the weights of its lowest loss
are kept. The update, only the tensors that were trained, is written under out/update in the network's type
and names; the files that are judged later are these. An interrupted run goes on from its last state, to the
same bits.

In a network's window, reading goes on where the window before it ended, so that no sequence comes
twice before all have come once, in whatever window. How far it came is kept under WORKDIR/train-state
once a run has come to the end of its plan: a window that failed does not count, and other tokens are read from
their beginning, which is said. ‹data_position: restart› always begins anew. With ‹optimizer: carry› AdamW's
moments go from window to window in the same way; they take twice the room of what is trained, in single
precision, for each of the last two windows, and where other tensors are trained it begins anew, which is said.

With ‹router_aux_loss_coef› the loss of a batch has the load-balancing loss of its routers added, as
‹output_router_logits› does in Hugging Face models: the product of each expert's share of the choices and
its mean probability, summed over the experts, times their number. It is taken over all mixture layers and
the batch's positions that are no padding, by the router's probabilities before those outside the
group are closed, as Block Zero does. Where routers are frozen it reaches the experts below them only. The
training loss is reported without it.

In a window, four steps that change nothing, the held-out loss that training begins with and a sample of what is
to be written tell how many steps fit; the value ‹first_step_s› is the time until the first step that counts.
States are kept from a quarter of the steps on at the latest. A loss or gradient that is no finite number, and
that ‹non_finite› does not skip, then ends training early, but not the run: the update has the weights of the
lowest ‹select› loss, or of the newest state, and a note says so.

What is measured is written step by step to WORKDIR/metrics, see the plan's section ‹metrics›:
‹train/loss› before the step's update in nats per token, ‹train/loss_reduction›, which is the training loss
of the first step less that of this one, learning rate, norm of the gradient, tokens per second, what
was no finite number, and how many tokens each expert of a layer got, with ‹router_aux_loss_coef› also
‹moe/aux_loss›, before the coefficient. A file that cannot be written is said
in the report, and training goes on.`),
		Example: `
train:
  max_steps: 100
  batch_size: 4
  gradient_accumulation_steps: 4
  learning_rate: 3e-5`,
		Takes: []pipeline.Data{pipeline.Tokens}, Makes: []pipeline.Data{pipeline.Update},
		Default: Train{Trainable: pipeline.Texts{trainExperts}, MaxSteps: 500, BatchSize: 4, Accumulation: 4, LearningRate: 3e-5,
			Schedule: "cosine", WarmupSteps: 100, Beta1: 0.9, Beta2: 0.95, WeightDecay: 0.1, ClipNorm: 1,
			NonFinite: "raise", NonFiniteMax: 50, Checkpoint: 50, DataPosition: positionContinue, Optimizer: optimizerReset,
			Precision: autoPrecision, DType: "F16", Naming: "native"},
		New: func(c Train) (pipeline.Program, error) { return c.program() },
	}
}

// Check asks for a base model and for experts.
func (c *Train) Check(at *pipeline.Fields) {
	p := at.Plan()
	if p.Network.Base.Model == "" {
		at.Errorf("trainable", "the plan names no base model; set network.base.model")
	}
	if p.Network.ExpertGroup != nil && !p.AutoGroup() && p.Network.ExpertGroups == "" {
		at.Errorf("trainable", "network.expert_group needs the folder of groups; set network.expert_groups")
	}
	if c.DType == "BF16" && c.Naming == "qwen3next" {
		at.Errorf("dtype", "Block Zero cannot hash BF16, so that the update could not be submitted; use F32 or F16")
	}
	c.checkTrainable(at)
	if c.LearningRate == 0 {
		at.Errorf("learning_rate", "0 trains nothing; write a number above 0, such as 3e-5")
		return
	}
	if err := c.config(0).Validate(); err != nil {
		at.Errorf("max_steps", "%v", err)
	}
}

// config is the loop's configuration.
func (c Train) config(seed uint64) train.Config {
	cfg := train.Config{Seed: seed, Position: c.from, BatchSize: c.BatchSize, AccumulationSteps: c.Accumulation,
		MaxSteps: c.MaxSteps, LearningRate: c.LearningRate, Schedule: train.Schedule(c.Schedule), WarmupSteps: c.WarmupSteps,
		Beta1: c.Beta1, Beta2: c.Beta2, Epsilon: 1e-8, WeightDecay: c.WeightDecay, ClipNorm: c.ClipNorm,
		Mean: train.MeanOfBatches, RouterAuxLossCoef: c.RouterAux, NonFinite: train.NonFinite(c.NonFinite),
		SkipsMax: c.NonFiniteMax, EvalSteps: c.EvalSteps}
	return cfg.Fit(c.MaxSteps)
}

func (c Train) program() (pipeline.Program, error) {
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			reads := append(append(readBase(p), readGroups(p), readGroup(p)), readWindow(p)...)
			return append(reads, c.readTrainable(p)...)
		},
		Run: c.run, Uses: c.uses, SkipsDocuments: true, Kernels: true, Concluded: concluded,
		Links: []pipeline.Link{{Name: "out/update", From: "update"}},
	}, nil
}

// uses are the tokens, route's choice of experts or of their group where the plan does not name them,
// and in a window the rows that will judge.
func (c Train) uses(p *pipeline.Plan) []pipeline.Data {
	kinds := []pipeline.Data{pipeline.Tokens}
	if c.trains(trainExperts) && usesRouting(p) {
		kinds = append(kinds, pipeline.Routing)
	}
	if p.Window != nil && p.Evaluate != nil {
		kinds = append(kinds, pipeline.ValidatorRows) // judging them takes time
	}
	return kinds
}

func (c Train) run(ctx context.Context, t *pipeline.Task) (err error) {
	chosen, err := c.experts(t)
	if err != nil {
		return err
	}
	group := chosen.assignment
	data, closeData, err := openTokens(t, "train")
	if err != nil {
		return err
	}
	defer closeData()
	job, err := c.job(data, c.trainable(group))
	if err != nil {
		return err
	}
	began := time.Now()
	base, err := openBase(t, job, c.Precision)
	if err != nil {
		return err
	}
	loaded := time.Since(began)
	defer func() { err = base.end(err) }()
	base.tell(t)
	m := base.Model
	count := m.SetTrainable(job.Trains)
	if count == 0 {
		return fmt.Errorf("the base model has none of the %d experts to train", group.Experts())
	}
	sel, closeSelect, err := openTokens(t, "select")
	if err != nil {
		return err
	}
	defer closeSelect()
	read, carry, err := c.goOn(t, m, data)
	if err != nil {
		return err
	}
	var window *fitted
	if t.Plan.Window != nil {
		if window, err = c.fit(ctx, t, base, data, sel, loaded); err != nil {
			return err
		}
	}
	res, err := c.loop(ctx, t, m, data, sel, window, carry.config(t))
	if err != nil {
		return err
	}
	t.Note("%d tensors were trained", count)
	chosen.tell(t)
	c.report(t, res, data, group)
	c.values(t, res, data)
	return errors.Join(read.write(t, res), carry.write(t, res), c.writeUpdate(t, m, metaOf(res, chosen, base)))
}

// metaOf says what the update is of.
func metaOf(res train.Result, chosen experts, base *loadedBase) UpdateMeta {
	meta := UpdateMeta{Steps: res.Steps, StepsRun: stepsRun(res), Assignment: chosen.assignment, Group: chosen.group,
		GroupWhy: chosen.why, Base: base.from}
	if res.Best != nil {
		meta.Steps = res.Best.Step
	}
	return meta
}

// job is what is to be trained, as far as memory goes.
func (c Train) job(data train.Data, trains func(name string) bool) (model.Job, error) {
	if data.Sequences() == 0 {
		return model.Job{}, &pipeline.DataError{Msg: "there is no training sequence"}
	}
	var first tokenize.Sequence
	err := data.Sequence(0, &first)
	return model.Job{Trains: trains, Sequences: c.BatchSize, Length: len(first.Tokens), Balanced: c.RouterAux > 0}, err
}

// experts are the experts to train; none if the plan names other weights.
func (c Train) experts(t *pipeline.Task) (experts, error) {
	if !c.trains(trainExperts) {
		return experts{}, nil
	}
	return expertsOf(t)
}

func (c Train) loop(
	ctx context.Context, t *pipeline.Task, m *model.Model, data, sel train.Data, window *fitted,
	optimizer train.Optimizer,
) (train.Result, error) {
	scratch, err := t.MakeScratch()
	if err != nil {
		return train.Result{}, err
	}
	cfg := c.config(t.Seed("order"))
	cfg.Optimizer = optimizer
	if window != nil {
		cfg.TotalSteps, cfg.MaxSteps = cfg.MaxSteps, fasterMax*cfg.MaxSteps
	}
	cfg.Checkpoints = train.Checkpoints{Dir: scratch, FS: t.FS, Steps: c.Checkpoint, Build: t.Report.Build,
		Identity: string(t.Report.Key), FallBack: window != nil}
	hooks := train.Hooks{OnNotice: func(s string) { t.Note("%s", s) }}
	loss := 0.0
	hooks.OnStep = func(s train.Metrics) {
		loss = s.LossNats
		t.Progress(float64(s.Step), float64(max(s.Step, c.MaxSteps)), fmt.Sprintf("steps, loss %.4f", loss))
	}
	hooks.OnNonFinite = func(e train.NonFiniteEvent) { t.Note("%s", e) }
	if sel.Sequences() > 0 {
		hooks.Evaluate = func(ctx context.Context, m *model.Model) (float64, error) {
			return meanLoss(ctx, m, sel, c.BatchSize)
		}
	}
	meter := &meter{t: t, batch: c.BatchSize * c.Accumulation, balanced: c.RouterAux > 0}
	meter.hooks(&hooks)
	var began time.Time
	if window != nil {
		began = t.Plan.Window.Now()
		window.hooks(t.Plan.Window, &hooks)
	}
	res, err := train.Run(ctx, m, data, cfg, hooks)
	meter.close(err == nil)
	if window != nil {
		window.tell(t, res, began)
		err = errors.Join(err, window.keep(t, c.paceOf(t), sel.Sequences()))
	}
	tellFault(t, res)
	return res, blameBase(m, err)
}

// blameBase says where the base model itself holds what is no number, when training has met one: no data
// or learning rate is at fault then. Trained weights are the base's own before the first update.
func blameBase(m *model.Model, err error) error {
	var fault *train.NonFiniteError
	if !errors.As(err, &fault) {
		return err
	}
	for _, p := range m.Params() {
		if p.Trains() && fault.Event.Step > 1 {
			continue
		}
		for i, v := range p.Values() {
			if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
				return &pipeline.DataError{Msg: fmt.Sprintf("step %d: the loss is not finite, as the base model's %s holds "+
					"%v at element %d; fetch the base again, or its checkpoint", fault.Event.Step, p.Name, v, i)}
			}
		}
	}
	return err
}

// meanLoss is the mean loss of all targets, in nats.
func meanLoss(ctx context.Context, m *model.Model, data train.Data, batchSize int) (float64, error) {
	l, err := eval.Measure(ctx, m, data, eval.Options{BatchSize: batchSize})
	if err != nil {
		return 0, err
	}
	return l.Mean(), nil
}

// writeUpdate writes the trained tensors, and meta completed.
func (c Train) writeUpdate(t *pipeline.Task, m *model.Model, meta UpdateMeta) error {
	dtype, err := checkpoint.ParseDType(c.DType)
	if err != nil {
		return err
	}
	naming, err := checkpoint.ParseNaming(c.Naming)
	if err != nil {
		return err
	}
	var native []checkpoint.Tensor
	for _, p := range m.Params() {
		if !p.Trains() {
			continue
		}
		values := p.Values()
		if err := m.Device().Err(); err != nil {
			return err // what could not be copied from the device is no update
		}
		tensor, err := checkpoint.NewTensor(p.Name, dtype, p.Shape, values)
		if err != nil {
			return err
		}
		native = append(native, tensor)
	}
	if meta.Assignment != nil {
		if native, err = naming.ToProfile(meta.Assignment, native); err != nil {
			return err
		}
	}
	meta.Naming, meta.DType = naming.String(), dtype.String()
	if err := t.WriteFile("update/"+updateJSON, func(w io.Writer) error { return json.NewEncoder(w).Encode(meta) }); err != nil {
		return err
	}
	return t.WriteFile("update/"+updateFile, func(w io.Writer) error { return checkpoint.Write(w, native, nil) })
}

func (c Train) report(t *pipeline.Task, res train.Result, data train.Data, group checkpoint.Assignment) {
	step := pipeline.Curve{Name: "training loss"}
	tokens, skipped := 0, 0
	for _, s := range res.Metrics {
		step.X, step.Y = append(step.X, float64(s.Step)), append(step.Y, s.LossNats)
		tokens, skipped = tokens+s.Tokens, skipped+s.Skipped
	}
	curves := &pipeline.Curves{XLabel: "step", YLabel: "loss (nats per token)", Series: []pipeline.Curve{step}}
	held := pipeline.Curve{Name: "held-out loss, select"}
	for _, e := range res.Evaluations {
		held.X, held.Y = append(held.X, float64(e.Step)), append(held.Y, e.LossNats)
	}
	if len(held.X) > 0 {
		curves.Series = append(curves.Series, held)
	}
	t.Panel(pipeline.Panel{Title: "Loss", Curves: curves})
	first, last := lossEnds(res.Metrics)
	t.Figure("trained", "%d steps, %d tokens, %.2f passes over %d sequences; %d experts; training loss %.4f → %.4f",
		res.Steps, tokens, float64(res.Steps*c.BatchSize*c.Accumulation)/float64(data.Sequences()), data.Sequences(),
		group.Experts(), first, last)
	if res.Best != nil {
		t.Note("the weights are those after step %d, where the select loss was lowest: %.4f", res.Best.Step, res.Best.LossNats)
	}
	if skipped > 0 {
		t.Note("%d batches were skipped, their loss being no finite number", skipped)
	}
}

// lossWindow is how many steps the first and last training loss are the mean of, at most.
const lossWindow = 10

// lossEnds are the training losses that are told as first and last: of short trainings those of both halves.
func lossEnds(ms []train.Metrics) (first, last float64) {
	n := len(ms)
	if n == 0 {
		return 0, 0
	}
	of := min((n+1)/2, lossWindow)
	return windowMean(ms[:of]), windowMean(ms[n-of:])
}

func windowMean(ms []train.Metrics) float64 {
	sum := 0.0
	for _, m := range ms {
		sum += m.LossNats
	}
	return sum / float64(len(ms))
}
