package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"bzdata/train/tensor"
)

// ids are n random numbers below a bound.
func ids(seed uint64, n, below int) []int32 {
	r := rand.New(rand.NewPCG(seed, 3))
	out := make([]int32, n)
	for i := range out {
		out[i] = r.Int32N(int32(below))
	}
	return out
}

// TestEmbed has tokens that come often, and tables with many rows that none has.
func TestEmbed(t *testing.T) {
	for _, s := range []struct{ tokens, vocab, width int }{{0, 4, 8}, {1, 1, 5}, {40, 3, 7}, {700, 11, 16}, {33, 900, 260}} {
		anyAlignment(t, fmt.Sprintf("%v", s), func(r trial) [][]float32 {
			tokens, table := r.numbers(ids(1, s.tokens, s.vocab)), r.acts(normal(2, s.vocab*s.width))
			y, grad := r.acts(make([]float32, s.tokens*s.width)), r.wide(normal(3, s.vocab*s.width))
			r.Embed(y, table, tokens, s.width)
			r.EmbedBack(grad, r.acts(normal(4, s.tokens*s.width)), tokens, s.width)
			return [][]float32{r.read(y), r.read(grad)}
		})
	}
}

// TestEmbedBackOrder holds that a row's sum is formed in the order of tokens: in another order it would be 0 or 2.
func TestEmbedBackOrder(t *testing.T) {
	compare(t, "order", tensor.F32, 0, func(r trial) [][]float32 {
		grad := r.wide([]float32{0, 1})
		r.EmbedBack(grad, r.wide([]float32{1e9, 1, -1e9, 1}), r.numbers([]int32{1, 1, 1, 1}), 1)
		return [][]float32{r.read(grad)}
	})
}

func TestGatherScatter(t *testing.T) {
	for _, width := range []int{1, 3, 8, 200} {
		anyAlignment(t, fmt.Sprintf("rows of %d", width), func(r trial) [][]float32 {
			some := make([]int32, 9)
			for i := range some {
				some[i] = int32((i*7 + 3) % 20)
			}
			src, dst := r.acts(normal(1, 20*width)), r.acts(make([]float32, 9*width))
			r.GatherRows(dst, src, r.numbers(some), width)
			back := r.acts(normal(2, 20*width))
			r.ScatterRows(back, dst, r.numbers(some), width)
			cut := r.acts(normal(3, 20*(width+3)))
			r.CopyColumns(cut.From(2), width+3, src, width, width, 20)
			return [][]float32{r.read(dst), r.read(back), r.read(cut)}
		})
	}
}

func TestHeads(t *testing.T) {
	for _, s := range []struct{ rows, heads, dim, length int }{{0, 1, 2, 3}, {1, 1, 2, 1}, {7, 3, 10, 3}, {6, 40, 64, 6}} {
		anyAlignment(t, fmt.Sprintf("%v", s), func(r trial) [][]float32 {
			step := s.dim + 3
			stride := step*s.heads + 1
			x := tensor.Heads{Array: r.acts(normal(1, s.rows*stride+s.dim)).From(1), Stride: stride, Step: step}
			half := s.dim / 2
			cos, sin := r.wide(normal(2, s.length*half)), r.wide(normal(3, s.length*half))
			r.Deinterleave(x, s.rows, s.heads, s.dim)
			apart := r.read(x.Array)
			r.Rotate(x, s.rows, s.heads, half, s.length, cos, sin)
			turned := r.read(x.Array)
			r.Interleave(x, s.rows, s.heads, s.dim)
			return [][]float32{apart, turned, r.read(x.Array)}
		})
	}
}

func TestKeys(t *testing.T) {
	for _, l := range []tensor.LatentShape{
		{Rows: 0, Heads: 1, Nope: 2, Rope: 2, V: 2}, {Rows: 1, Heads: 1, Nope: 1, Rope: 2, V: 3}, {Rows: 5, Heads: 7, Nope: 12, Rope: 6, V: 9},
	} {
		anyAlignment(t, fmt.Sprintf("%+v", l), func(r trial) [][]float32 {
			stride := l.Rope + 5
			kv, k := r.acts(normal(1, l.Rows*l.Heads*l.KV())), r.acts(make([]float32, l.Rows*l.Heads*l.QK()))
			shared := tensor.Heads{Array: r.acts(normal(2, l.Rows*stride+5)).From(5), Stride: stride}
			r.JoinKeys(k, kv, shared, l)
			keys := r.read(k)
			dk := r.acts(normal(3, l.Rows*l.Heads*l.QK()))
			r.SplitKeys(kv, shared, dk, l)
			return [][]float32{keys, r.read(kv), r.read(shared.Array)}
		})
	}
}
