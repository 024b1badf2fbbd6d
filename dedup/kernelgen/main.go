// Command kernelgen writes the assembly of package dedup and its Go declarations:
//
//	go run . -dir ..
//
// It is a module of its own, so that the generator is no dependency of the program.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	dir := flag.String("dir", "", "folder of package dedup")
	flag.Parse()
	files, err := generate()
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(*dir, name), text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernelgen:", err)
		os.Exit(1)
	}
}

// generate returns the text of each generated file by name.
func generate() (map[string][]byte, error) {
	ctx := build.NewContext()
	kernel{ctx, "minimaAVX512", 64, 10}.function()
	kernel{ctx, "minimaAVX2", 32, 7}.function()
	file, err := ctx.Result()
	if err != nil {
		return nil, err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return nil, err
	}
	cfg := printer.Config{Name: "kernelgen", Pkg: "dedup"}
	assembly, err := printer.NewGoAsm(cfg).Print(file)
	if err != nil {
		return nil, err
	}
	stubs, err := printer.NewStubs(cfg).Print(file)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"kernel_amd64.s": assembly, "kernel_stub_amd64.go": stubs}, nil
}

// groupBytes is the size of a group of permutations: 16 lanes of 32 bits.
const groupBytes = 64

// kernel is a function to be written: its name, the width of its registers and the
// number of groups whose minima they hold.
type kernel struct {
	*build.Context
	name      string
	bytes     int
	groupsMax int
}

// function writes one function with a loop of its own for each number of groups, so
// that every minimum stays in a register while the shingles pass by.
func (k kernel) function() {
	k.Function(k.name)
	k.Attributes(attr.NOSPLIT)
	k.SignatureExpr("func(shingles *uint64, n int, mul, add, out *uint32, groups int)")
	k.Pragma("noescape")
	k.Doc(fmt.Sprintf("%s does the work of minimaPlain for n >= 1 shingles and 1 to %d groups.", k.name, k.groupsMax))
	p := params{
		shingles: k.Load(k.Param("shingles"), k.GP64()),
		n:        k.Load(k.Param("n"), k.GP64()),
		mul:      k.Load(k.Param("mul"), k.GP64()),
		add:      k.Load(k.Param("add"), k.GP64()),
		out:      k.Load(k.Param("out"), k.GP64()),
	}
	groups := k.Load(k.Param("groups"), k.GP64())
	for g := 1; g < k.groupsMax; g++ {
		k.CMPQ(groups, operand.U8(g))
		k.JEQ(operand.LabelRef(fmt.Sprintf("groups%d", g)))
	}
	for g := k.groupsMax; g >= 1; g-- {
		k.Label(fmt.Sprintf("groups%d", g))
		if k.bytes == groupBytes {
			k.wide(p, g)
		} else {
			k.narrow(p, g)
		}
		k.VZEROUPPER()
		k.RET()
	}
}

type params struct{ shingles, n, mul, add, out reg.Register }

// wide keeps multipliers, addends and minima of g groups in 3*g of the 32 registers.
func (k kernel) wide(p params, g int) {
	var mul, add, minima []reg.VecVirtual
	for i := range g {
		mul, add, minima = append(mul, k.ZMM()), append(add, k.ZMM()), append(minima, k.ZMM())
		k.VMOVDQU32(operand.Mem{Base: p.mul, Disp: k.bytes * i}, mul[i])
		k.VMOVDQU32(operand.Mem{Base: p.add, Disp: k.bytes * i}, add[i])
		k.VPTERNLOGD(operand.U8(0xff), minima[i], minima[i], minima[i])
	}
	h, t := k.ZMM(), k.ZMM()
	k.loop(p, g, func() {
		k.VPBROADCASTD(operand.Mem{Base: p.shingles}, h)
		for i := range g {
			k.VPMULLD(mul[i], h, t)
			k.VPADDD(add[i], t, t)
			k.VPMINUD(t, minima[i], minima[i])
		}
	})
	for i := range g {
		k.VMOVDQU32(minima[i], operand.Mem{Base: p.out, Disp: k.bytes * i})
	}
}

// narrow keeps only the minima of g groups, 2*g of the 16 registers, and reads the
// factors from the first-level cache.
func (k kernel) narrow(p params, g int) {
	var minima []reg.VecVirtual
	for i := range g * groupBytes / k.bytes {
		minima = append(minima, k.YMM())
		k.VPCMPEQD(minima[i], minima[i], minima[i])
	}
	h, t := k.YMM(), k.YMM()
	k.loop(p, g, func() {
		k.VPBROADCASTD(operand.Mem{Base: p.shingles}, h)
		for i := range minima {
			k.VPMULLD(operand.Mem{Base: p.mul, Disp: k.bytes * i}, h, t)
			k.VPADDD(operand.Mem{Base: p.add, Disp: k.bytes * i}, t, t)
			k.VPMINUD(t, minima[i], minima[i])
		}
	})
	for i := range minima {
		k.VMOVDQU(minima[i], operand.Mem{Base: p.out, Disp: k.bytes * i})
	}
}

// loop runs body once per shingle; a shingle is 8 bytes, of which the low 4 are used.
func (k kernel) loop(p params, g int, body func()) {
	label := fmt.Sprintf("loop%d", g)
	k.Label(label)
	body()
	k.ADDQ(operand.Imm(8), p.shingles)
	k.DECQ(p.n)
	k.JNE(operand.LabelRef(label))
}
