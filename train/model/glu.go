package model

import "bzdata/train/tensor"

// glu is a SwiGLU block: down(silu(gate(x)) * up(x)).
type glu struct{ gate, up, down *Param }

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

// growGLU sizes the buffers of inner rows.
func (p *pass) growGLU(a *tensor.GLU, rows, width int) {
	p.grow(&a.Gate, rows*width)
	p.grow(&a.Up, rows*width)
	p.grow(&a.Act, rows*width)
}

// forward adds to y for rows of x.
func (g *glu) forward(p *pass, x, y tensor.Array, a *tensor.GLU) {
	p.growGLU(a, p.rows, g.width())
	linear(p.dev, p.rows, g.gate, x, a.Gate, false)
	linear(p.dev, p.rows, g.up, x, a.Up, false)
	p.dev.SwiGLU(a.Act, a.Gate, a.Up)
	linear(p.dev, p.rows, g.down, a.Act, y, true)
}

// backward adds to the gradients for dy, and to dx unless it is none. It overwrites a.
func (g *glu) backward(p *pass, dy, x, dx tensor.Array, a *tensor.GLU) {
	if !g.trainable() && dx.None() {
		return
	}
	dAct := p.borrow(p.rows * g.width())
	defer p.dev.Return(dAct)
	linearBack(p.dev, p.rows, g.down, dy, a.Act, dAct, false)
	p.dev.SwiGLUBack(dAct, a.Gate, a.Up)
	linearBack(p.dev, p.rows, g.gate, a.Gate, x, dx, true)
	linearBack(p.dev, p.rows, g.up, a.Up, x, dx, true)
}
