package model

import (
	"encoding/binary"
	"math"

	"bzdata/train/tensor"
)

// Hold says which of a model's weights are held, and where.
type Hold struct {
	// Own are the routed experts to load, by layer; nil loads all. Routers choose among these.
	Own map[int][]int32
	// LayersOnHost keeps the weights of layers in the host's memory, in the type of their file if the device knows it, and
	// takes those of one layer at a time to the device. Embedding and head, and what is trained, are on the device all the
	// time. For a card that the model does not fit into; it makes no difference to the bits.
	LayersOnHost bool
	// OnWeight, if not nil, is called after each weight that was read.
	OnWeight func(done, total int)
}

// onHost reports whether a layer's weight is one that is to stay in the host's memory.
func (m *Model) onHost(p *Param) bool { return p != m.embed && p != m.norm && p != m.head }

// toDevice makes a weight that is in the host's memory one that is on the device for good.
func (p *Param) toDevice() {
	if p.home == nil {
		return
	}
	p.w.Data = p.dev.Alloc(p.dev.Type(), p.Elements())
	p.home.upload(p.dev, p.w.Data)
	p.home = nil
}

// fetch takes the layer's weights that are in the host's memory to the device, until drop.
func (y *layer) fetch(dev tensor.Device) {
	for _, p := range y.params {
		if p.home != nil {
			p.w.Data = dev.Borrow(dev.Type(), p.Elements())
			p.home.upload(dev, p.w.Data)
		}
	}
}

// drop gives back what fetch took.
func (y *layer) drop(dev tensor.Device) {
	for _, p := range y.params {
		if p.home != nil {
			dev.Return(p.w.Data)
			p.w.Data = tensor.Array{}
		}
	}
}

// float32s returns the values in single precision.
func (s *stored) float32s() []float32 {
	if s.raw == nil {
		return s.values
	}
	values := make([]float32, len(s.raw)/2)
	for i := range values {
		values[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(s.raw[2*i:])) << 16)
	}
	return values
}
