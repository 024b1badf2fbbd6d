package cuda

import (
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// TestMomentsOnHost holds that moments in the host's memory change nothing but where they are.
func TestMomentsOnHost(t *testing.T) {
	const n = 3001
	train := func(p tensor.Precision) (master, first, second []float32) {
		d := newFakeOf(t, Options{Precision: p})
		w := tensor.Weight{Data: d.Load(normal(1, n))}
		d.Train(&w)
		m := d.Moments(n)
		for step := 1; step <= 4; step++ {
			d.Upload(w.Grad, normal(uint64(step), n))
			d.AdamW(rule, step, &w, m)
			if step == 2 {
				first, second = d.ReadMoments(m)
				again := d.Moments(n)
				d.SetMoments(again, first, second)
				m = again
			}
		}
		used, err := d.Memory()
		if err != nil {
			t.Fatal(err)
		}
		if moments := int64(4 * 4 * n); p == tensor.HalfHost && used.Used > moments {
			t.Errorf("%d bytes of the card are in use", used.Used)
		}
		first, second = d.ReadMoments(m)
		return d.Master(w), first, second
	}
	master, first, second := train(tensor.Half)
	onHost, firstOnHost, secondOnHost := train(tensor.HalfHost)
	if !slices.Equal(master, onHost) || !slices.Equal(first, firstOnHost) || !slices.Equal(second, secondOnHost) {
		t.Error("moments in the host's memory give other bits")
	}
}

// TestHostMemoryFails passes on that there is no memory to pin.
func TestHostMemoryFails(t *testing.T) {
	d := newFakeOf(t, Options{Precision: tensor.HalfHost})
	fakeSet(t, "fail_at_call", 1, 0)
	m := d.Moments(100)
	if first, _ := d.ReadMoments(m); len(first) != 100 {
		t.Errorf("%d moments", len(first))
	}
	wantFault(t, d, "0.4 KiB of the host's memory for the optimizer's state: cuMemHostAlloc: CUDA_ERROR_UNKNOWN (999")
}
