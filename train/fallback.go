package train

import (
	"context"
	"errors"
)

// loopOrFallBack makes the steps. At a fault that the run may fall back from it ends with weights from
// before.
func (r *run) loopOrFallBack(ctx context.Context) error {
	err := r.loop(ctx)
	var fault *NonFiniteError
	if !errors.As(err, &fault) || !r.cfg.Checkpoints.FallBack || r.saved == 0 {
		return err
	}
	if r.state.Best == nil {
		if back, loadErr := r.loadNewest(r.finiteWeights); loadErr != nil || !back {
			return errors.Join(err, loadErr)
		}
		r.fault, r.state.Stopped = fault, true
		return r.loop(ctx) // for the held-out loss of these weights
	}
	r.fault, r.state.Stopped = fault, true
	return nil
}

// loadNewest takes the run to the newest state that is whole and accepted, if there is one.
func (r *run) loadNewest(accept func() bool) (bool, error) {
	steps, _, err := listStates(r.cfg.Checkpoints.FS, r.cfg.Checkpoints.Dir)
	if err != nil {
		return false, err
	}
	for _, step := range steps {
		done, err := r.load(r.path(stateName(step)))
		if err != nil {
			return false, err
		}
		if done && accept() {
			return true, nil
		}
	}
	return false, nil
}

// finiteWeights reports whether all trainable weights are numbers: an update may make them too large before a
// loss shows it, and a state may have been written in between.
func (r *run) finiteWeights() bool {
	for _, p := range r.params {
		if !finiteSquares(p.Values()) {
			return false
		}
	}
	return true
}
