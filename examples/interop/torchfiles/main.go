// Command torchfiles writes PyTorch files with bzdata and says what bzdata reads in those of PyTorch, for
// torch.py to compare:
//
//	torchfiles write DIR      writes NAME.pt and, for each, what it holds as NAME.json
//	torchfiles read FILE…     prints what each file holds, or the error, as JSON
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "torchfiles:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "write":
		return write(args[1])
	case len(args) > 1 && args[0] == "read":
		return read(args[1:])
	}
	return fmt.Errorf("usage: torchfiles write DIR | read FILE…")
}

// described is a tensor: its values are little-endian, in row-major order.
type described struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Hex   string `json:"hex"`
}

// content is what a file holds.
type content struct {
	Tensors map[string]described `json:"tensors"`
	Hash    string               `json:"hash,omitempty"`
	Error   string               `json:"error,omitempty"`
}

func contentOf(src checkpoint.Source) (content, error) {
	c := content{Tensors: map[string]described{}}
	for _, name := range src.Names() {
		info, _ := src.Info(name)
		data, err := src.Bytes(name)
		if err != nil {
			return c, err
		}
		c.Tensors[name] = described{info.DType.String(), append([]int{}, info.Shape...), hex.EncodeToString(data)}
	}
	tensors, err := checkpoint.Tensors(src)
	if err == nil {
		c.Hash, err = checkpoint.Hash(tensors)
	}
	return c, err
}

func read(files []string) error {
	all := map[string]content{}
	for _, name := range files {
		f, err := checkpoint.OpenTorch(store.OS(), name)
		if err != nil {
			all[filepath.Base(name)] = content{Error: err.Error()}
			continue
		}
		c, err := contentOf(f)
		if err != nil {
			return err
		}
		all[filepath.Base(name)] = c
		if err := f.Close(); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func write(dir string) error {
	for name, tensors := range map[string][]checkpoint.Tensor{
		"types": types(), "shapes": shapes(), "many": many(), "large": large(), "none": nil,
	} {
		path := filepath.Join(dir, name)
		err := store.WriteFile(store.OS(), path+".pt", func(w io.Writer) error { return checkpoint.WriteTorch(w, tensors) })
		if err != nil {
			return err
		}
		src, err := checkpoint.FromTensors(tensors)
		if err != nil {
			return err
		}
		c, err := contentOf(src)
		if err != nil {
			return err
		}
		data, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := store.WriteBytes(store.OS(), path+".json", data); err != nil {
			return err
		}
	}
	return nil
}

// tensor has random bytes: every pattern that a type has, among them infinities, signed zeros, numbers
// too small to be normal, and NaN of every payload.
func tensor(rng *rand.Rand, name string, dtype checkpoint.DType, shape ...int) checkpoint.Tensor {
	n := dtype.Bits() / 8
	for _, d := range shape {
		n *= d
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return checkpoint.Tensor{Name: name, DType: dtype, Shape: shape, Data: data}
}

var written = []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}

// types holds every pattern of 16 bits as F16 and BF16, and some of F32.
func types() []checkpoint.Tensor {
	patterns := make([]byte, 0, 2<<16)
	for i := range 1 << 16 {
		patterns = append(patterns, byte(i), byte(i>>8))
	}
	special, err := checkpoint.NewTensor("special", checkpoint.F32, []int{6}, []float32{
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), float32(math.Copysign(0, -1)),
		math.SmallestNonzeroFloat32, math.MaxFloat32,
	})
	if err != nil {
		panic(err) // six values fill a shape of six
	}
	return []checkpoint.Tensor{special, {Name: "halves", DType: checkpoint.F16, Shape: []int{256, 256}, Data: patterns},
		{Name: "brains", DType: checkpoint.BF16, Shape: []int{65536}, Data: patterns}}
}

func shapes() (out []checkpoint.Tensor) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, dtype := range written {
		for i, shape := range [][]int{
			{}, {0}, {1}, {7}, {0, 3}, {3, 0}, {2, 3}, {1, 1, 1, 1}, {2, 1, 3, 1, 2}, {5, 4, 3, 2},
		} {
			out = append(out, tensor(rng, fmt.Sprintf("%s.%d é 中 \"\\\n", dtype, i), dtype, shape...))
		}
	}
	return out
}

func many() (out []checkpoint.Tensor) {
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 3000 {
		name := fmt.Sprintf("model.layers.%d.mlp.experts.%d.down_proj.weight", i/64, i%64)
		out = append(out, tensor(rng, name, written[i%3], i%4, 5))
	}
	return out
}

func large() []checkpoint.Tensor {
	return []checkpoint.Tensor{tensor(rand.New(rand.NewPCG(3, 3)), "w", checkpoint.BF16, 1<<10, 1<<10)}
}
