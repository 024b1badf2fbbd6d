package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"

	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

// Kinds of updates.
const (
	scaled = "scaled"
	noise  = "noise"
	copied = "copy"
)

// variant is an update to be judged.
type variant struct {
	name, kind string
	strength   float64
	update     checkpoint.Source
}

// variants makes the updates of all arguments.
func variants(base checkpoint.Source, args []string, seed uint64) ([]variant, error) {
	var out []variant
	for _, arg := range args {
		kind, rest, _ := strings.Cut(arg, ":")
		run, list, ok := strings.Cut(rest, ":")
		if !ok || kind != scaled && kind != noise {
			return nil, fmt.Errorf("%s: want scaled:RUN:STRENGTH,… or noise:RUN:STRENGTH,…", arg)
		}
		for _, text := range strings.Split(list, ",") {
			strength, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", arg, err)
			}
			v := variant{name: filepath.Base(run), kind: kind, strength: strength}
			if strength == 0 {
				v.kind = copied
			}
			rng := rand.New(rand.NewPCG(seed, uint64(len(out))))
			if v.update, err = derive(base, run, v, rng); err != nil {
				return nil, fmt.Errorf("%s: %w", arg, err)
			}
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no update is named; want scaled:RUN:STRENGTH,… or noise:RUN:STRENGTH,…")
	}
	return out, nil
}

// derive makes an update of a run's.
func derive(base checkpoint.Source, run string, v variant, rng *rand.Rand) (checkpoint.Source, error) {
	update, err := stages.OpenUpdate(store.OS(), filepath.Join(run, "out", "update"))
	if err != nil {
		return nil, err
	}
	defer update.Close()
	var out []checkpoint.Tensor
	for _, name := range update.Names() {
		info, ok := base.Info(name)
		if !ok {
			return nil, fmt.Errorf("the base has no tensor %s", name)
		}
		under, err := base.Float32(name, nil)
		if err != nil {
			return nil, err
		}
		over, err := update.Float32(name, nil)
		if err != nil {
			return nil, err
		}
		if len(over) != len(under) {
			return nil, fmt.Errorf("tensor %s has %d values in the base, %d in the update", name, len(under), len(over))
		}
		data, err := checkpoint.FromFloat32(info.DType, move(under, over, v, rng))
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		out = append(out, checkpoint.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data})
	}
	return checkpoint.FromTensors(out)
}

// move goes from under by strength times the way to over, or times as long a way in a random
// direction.
func move(under, over []float32, v variant, rng *rand.Rand) []float32 {
	way := make([]float64, len(under))
	squares, squaresOfNoise := 0.0, 0.0
	for i := range way {
		d := float64(over[i]) - float64(under[i])
		way[i] = d
		if v.kind == noise {
			way[i] = rng.NormFloat64()
		}
		squares, squaresOfNoise = squares+d*d, squaresOfNoise+way[i]*way[i]
	}
	scale := v.strength * math.Sqrt(squares/max(squaresOfNoise, math.SmallestNonzeroFloat64))
	out := make([]float32, len(under))
	for i := range out {
		out[i] = float32(float64(under[i]) + scale*way[i])
	}
	return out
}
