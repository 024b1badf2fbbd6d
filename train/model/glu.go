package model

import "bzdata/train/tensor"

// glu is a SwiGLU block: down(silu(gate(x)) * up(x)).
type glu struct{ gate, up, down *Param }

// gluActs are a block's inner rows, each of the block's width.
type gluActs struct{ gate, up, act []float32 }

func (m *Model) addGLU(prefix string, width int) *glu {
	hidden := m.cfg.HiddenSize
	return &glu{
		gate: m.addParam(prefix+"gate_proj.weight", width, hidden),
		up:   m.addParam(prefix+"up_proj.weight", width, hidden),
		down: m.addParam(prefix+"down_proj.weight", hidden, width),
	}
}

func (g *glu) width() int      { return g.gate.Shape[0] }
func (g *glu) trainable() bool { return trains(g.gate, g.up, g.down) }

// grow sizes the buffers for rows of a width.
func (a *gluActs) grow(rows, width int) {
	grow(&a.gate, rows*width)
	grow(&a.up, rows*width)
	grow(&a.act, rows*width)
}

// slice is the part of the buffers for rows [from, to).
func (a *gluActs) slice(from, to, width int) gluActs {
	from, to = from*width, to*width
	return gluActs{gate: a.gate[from:to], up: a.up[from:to], act: a.act[from:to]}
}

// forward sets y, or adds to it, for rows of x.
func (g *glu) forward(dev *tensor.Device, rows int, x, y []float32, a *gluActs, add bool) {
	a.grow(rows, g.width())
	linear(dev, rows, g.gate, x, a.gate, false)
	linear(dev, rows, g.up, x, a.up, false)
	dev.SwiGLU(a.act, a.gate, a.up)
	linear(dev, rows, g.down, a.act, y, add)
}

// backward adds to the gradients for dy, and to dx unless it is nil. It overwrites a.
func (g *glu) backward(dev *tensor.Device, rows int, dy, x, dx []float32, a *gluActs) {
	if !g.trainable() && dx == nil {
		return
	}
	dAct := dev.Borrow(rows * g.width())
	defer dev.Return(dAct)
	linearBack(dev, rows, g.down, dy, a.act, dAct, false)
	g.innerBack(dev, rows, dAct, x, dx, a, true)
}

// innerBack is backward from the derivative of the inner rows on; it sets dx if not add.
func (g *glu) innerBack(dev *tensor.Device, rows int, dAct, x, dx []float32, a *gluActs, add bool) {
	dev.SwiGLUBack(dAct, a.gate, a.up)
	linearBack(dev, rows, g.gate, a.gate, x, dx, add)
	linearBack(dev, rows, g.up, a.up, x, dx, true)
}
