package stages

import (
	"errors"
	"fmt"

	"bzdata/pipeline"
	"bzdata/train/checkpoint"
	"bzdata/train/device"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// autoPrecision leaves the precision to the memory that a card has.
const autoPrecision = "auto"

// loadedBase is the base model on the run's device.
type loadedBase struct {
	*model.Model
	from   *checkpoint.FolderName // of the checkpoint that its weights are of, nil without
	keep   func() error           // lets the next run of this process have the weights that are frozen
	read   int                    // tensors that were read from files
	device device.Device
}

// tell says which checkpoint the weights are of.
func (l *loadedBase) tell(t *pipeline.Task) {
	if l.from != nil {
		t.Figure("base", "checkpoint %s, global version %d", l.from.Folder, l.from.Version)
		t.Value("base_global_version", float64(l.from.Version))
	}
}

// end keeps what the next run may use, and closes the device. A device that is at fault has nothing more to say than err does.
func (l *loadedBase) end(err error) error {
	err = errors.Join(err, l.keep())
	if closeErr := l.device.Close(); err == nil {
		return closeErr
	}
	return err
}

// openBase loads the base model for a job on the run's device. Tensors that an earlier run of this process has left as
// they are in the same files are not read again.
func openBase(t *pipeline.Task, job model.Job, precision string) (l *loadedBase, err error) {
	b, err := openWeights(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	fit, err := fitOn(t, b.config, job, precision)
	if err != nil {
		return nil, err
	}
	dev, err := device.Open(t.Kernels, device.Options{Workers: t.Workers, Precision: fit.Precision})
	if err != nil {
		return nil, err
	}
	warm := takeWeights(t, b)
	m, err := model.FromSource(b.config, warm, fit.Hold, dev)
	if err != nil {
		return nil, errors.Join(b.wrap(t, err), dev.Close())
	}
	m.SetRecompute(fit.Recompute)
	if device.OnCard(t.Kernels) {
		t.Figure("card", "%s", dev)
	}
	keep := func() error { return warm.put(t, m) }
	if device.OnCard(t.Kernels) {
		keep = func() error { return nil } // what is on the card goes with the device
	}
	return &loadedBase{m, b.from, keep, warm.read, dev}, nil
}

// CheckDevice reports what a plan asks for that the device of a name does not have, before anything runs.
func CheckDevice(p *pipeline.Plan, name string) error {
	for _, s := range p.Stages {
		c, ok := s.Config.(Train)
		if !ok || device.OnCard(name) || c.Precision == autoPrecision || c.Precision == string(tensor.Single) {
			continue
		}
		return &pipeline.UsageError{Msg: fmt.Sprintf("train.precision %s is for a card, and this run computes on "+
			"the processor, in f32; write auto, or run with --device cuda", c.Precision)}
	}
	return nil
}

// cardReserveBytes are left on a card for its context, the compiled kernels and the workspace of matrix products.
const cardReserveBytes = 1 << 30

// fitOn says how a job is kept in the memory of the run's device, and tells it.
func fitOn(t *pipeline.Task, cfg model.Config, job model.Job, precision string) (model.Fit, error) {
	var asked tensor.Precision
	if precision != autoPrecision {
		asked = tensor.Precision(precision)
	}
	if !device.OnCard(t.Kernels) {
		return model.Fit{Job: model.Job{Precision: tensor.Single}}, nil
	}
	free, err := device.FreeBytes(t.Kernels)
	if err != nil {
		return model.Fit{}, err
	}
	fit, err := model.Fitting(cfg, job, asked, free-cardReserveBytes, t.MemoryBytes)
	if err != nil {
		return model.Fit{}, err
	}
	t.Figure("memory of the card", "%s", fit)
	t.Progress(0, 1, fit.String())
	fit.OnWeight = func(done, total int) { t.Progress(float64(done), float64(total), "weights to the card") }
	return fit, nil
}

// openStream opens the base model to be run layer by layer, on the run's device. Its weights are to be closed, and the
// device with them.
func openStream(t *pipeline.Task) (*model.Stream, *baseModel, error) {
	b, err := openWeights(t)
	if err != nil {
		return nil, nil, err
	}
	dev, err := device.Open(t.Kernels, device.Options{Workers: t.Workers})
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	b.open = append(b.open, dev)
	s, err := model.NewStream(b.config, b, dev)
	if err != nil {
		return nil, nil, errors.Join(b.wrap(t, err), b.Close())
	}
	return s, b, nil
}
