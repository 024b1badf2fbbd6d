package main

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// mix is the output function of SplitMix64 (Steele, Lea and Flood 2014), so that any value of a stream can be asked for alone.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stream is a run of random values, uniform about 0 with a standard deviation.
type stream struct {
	seed  uint64
	scale float32
}

func newStream(name string, seed uint64, deviation float64) stream {
	h := fnv.New64a()
	fmt.Fprint(h, name)
	// 65536 equal steps of 1 have the deviation 65536/√12.
	return stream{mix(seed) ^ h.Sum64(), float32(deviation * math.Sqrt(12) / 65536)}
}

// at is value i.
func (s stream) at(i int) float32 {
	lane := uint16(mix(s.seed+uint64(i)>>2) >> (16 * (i & 3)))
	return (float32(lane) - 32767.5) * s.scale
}

// floats are the first n values.
func (s stream) floats(n int) []float32 {
	values := make([]float32, n)
	everywhere(n, func(from, to int) {
		for i := from; i < to; i++ {
			values[i] = s.at(i)
		}
	})
	return values
}

// halves are the first n values as bfloat16, the lower byte first.
func (s stream) halves(n int) []byte {
	raw := make([]byte, 2*n)
	everywhere(n, func(from, to int) {
		for i := from; i < to; i++ {
			binary.LittleEndian.PutUint16(raw[2*i:], half(s.at(i)))
		}
	})
	return raw
}

// half rounds to bfloat16, to the nearest, ties to even.
func half(v float32) uint16 {
	bits := math.Float32bits(v)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// rounded is v as bfloat16 has it.
func rounded(v float32) float32 { return math.Float32frombits(uint32(half(v)) << 16) }

// everywhere shares [0, n) out among all cores.
func everywhere(n int, do func(from, to int)) {
	const block = 1 << 16
	workers := min(runtime.GOMAXPROCS(0), (n+block-1)/block)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() { do(n*w/workers, n*(w+1)/workers) })
	}
	group.Wait()
}

// source is a model's weights in bfloat16, made when they are asked for. They are the same for one name and seed.
type source struct {
	shapes    map[string][]int
	names     []string
	seed      uint64
	deviation float64
}

var _ checkpoint.Source = (*source)(nil)

// newSource makes the weights of a configuration, of which keep, unless nil, chooses.
func newSource(cfg model.Config, seed uint64, keep func(name string) bool) (*source, error) {
	params, err := model.Shapes(cfg)
	if err != nil {
		return nil, err
	}
	s := &source{shapes: map[string][]int{}, seed: seed, deviation: cfg.InitializerRange}
	for _, p := range params {
		if keep == nil || keep(p.Name) {
			s.shapes[p.Name] = p.Shape
			s.names = append(s.names, p.Name)
		}
	}
	slices.Sort(s.names)
	return s, nil
}

// Names lists the tensors, sorted.
func (s *source) Names() []string { return s.names }

// Info describes a tensor.
func (s *source) Info(name string) (checkpoint.Info, bool) {
	shape, ok := s.shapes[name]
	info := checkpoint.Info{DType: checkpoint.BF16, Shape: shape}
	info.Bytes = 2 * int64(info.Elements())
	return info, ok
}

// Float32 makes a tensor's values.
func (s *source) Float32(name string, dst []float32) ([]float32, error) {
	raw, err := s.Bytes(name)
	if err != nil {
		return nil, err
	}
	dst = slices.Grow(dst[:0], len(raw)/2)[:len(raw)/2]
	everywhere(len(dst), func(from, to int) {
		for i := from; i < to; i++ {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	})
	return dst, nil
}

// Bytes makes a tensor's values as they would stand in a file: norms are 1, all else is random.
func (s *source) Bytes(name string) ([]byte, error) {
	info, ok := s.Info(name)
	if !ok {
		return nil, fmt.Errorf("there is no tensor %q", name)
	}
	if len(info.Shape) > 1 || strings.HasSuffix(name, ".bias") {
		return newStream(name, s.seed, s.deviation).halves(info.Elements()), nil
	}
	raw := make([]byte, info.Bytes)
	for i := range info.Elements() {
		binary.LittleEndian.PutUint16(raw[2*i:], half(1))
	}
	return raw, nil
}

// held is a source whose tensors are in memory.
type held struct {
	*source
	raw map[string][]byte
}

// hold makes all tensors once.
func hold(s *source) (*held, error) {
	h := &held{s, map[string][]byte{}}
	for _, name := range s.names {
		raw, err := s.Bytes(name)
		if err != nil {
			return nil, err
		}
		h.raw[name] = raw
	}
	return h, nil
}

// Bytes returns a tensor's values, which must not be written to.
func (h *held) Bytes(name string) ([]byte, error) {
	raw, ok := h.raw[name]
	if !ok {
		return nil, fmt.Errorf("there is no tensor %q", name)
	}
	return raw, nil
}
