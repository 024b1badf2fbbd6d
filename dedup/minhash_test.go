package dedup

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func mustHasher(t testing.TB, p Params, k Kernel) *Hasher {
	t.Helper()
	h, err := NewHasher(p, k)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// slowSignature is the definition, one minimum at a time.
func slowSignature(h *Hasher, shingles []uint64) []uint32 {
	var out []uint32
	for i := range h.params.Permutations() {
		if len(shingles) == 0 {
			break
		}
		least := uint32(math.MaxUint32)
		for _, s := range shingles {
			least = min(least, h.mul[i]*uint32(s)+h.add[i])
		}
		out = append(out, least)
	}
	return out
}

// TestKernels compares every kernel with the definition at all lengths of signature up
// to three calls, at small numbers of shingles that include the extreme hashes.
func TestKernels(t *testing.T) {
	extremes := []uint64{0, 1, math.MaxUint32, 1 << 31, 1<<31 - 1, math.MaxUint64}
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range Kernels() {
		for permutations := 1; permutations <= 3*blockLanesMax+1; permutations++ {
			h := mustHasher(t, Params{Bands: permutations, Rows: 1, Shingle: 5, Seed: 7}, k)
			for n := range 9 {
				shingles := randomSet(r, n)
				for i := range shingles {
					if r.IntN(2) == 0 {
						shingles[i] = extremes[r.IntN(len(extremes))]
					}
				}
				got, want := h.Signature(nil, shingles), slowSignature(h, shingles)
				if !slices.Equal(got, want) {
					t.Fatalf("%s, %d permutations, shingles %x:\n got %x\nwant %x", k, permutations, shingles, got, want)
				}
			}
		}
	}
}

func FuzzSignature(f *testing.F) {
	f.Add([]byte("eight or so bytes make one shingle hash"), uint64(1), 14, 8)
	f.Add(make([]byte, 8), uint64(0), 1, 1)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, bands, rows int) {
		p := Params{Bands: 1 + (bands&0xffff)%40, Rows: 1 + (rows&0xffff)%40, Shingle: 5, Seed: seed}
		var shingles []uint64
		for ; len(data) >= 8; data = data[8:] {
			shingles = append(shingles, binary.LittleEndian.Uint64(data))
		}
		want := slowSignature(mustHasher(t, p, Plain), shingles)
		for _, k := range Kernels() {
			h := mustHasher(t, p, k)
			got := h.Signature([]uint32{9}, shingles)
			if !slices.Equal(got[1:], want) {
				t.Fatalf("%s: got %x, want %x", k, got[1:], want)
			}
			if keys := h.BandKeys(nil, want); len(shingles) > 0 && len(keys) != p.Bands {
				t.Fatalf("%d keys of %d bands", len(keys), p.Bands)
			}
		}
	})
}

// TestPinned pins signatures and keys, since an index outlives the program. The values
// were computed from the definitions by a second program in another language.
func TestPinned(t *testing.T) {
	h := mustHasher(t, Params{Bands: 2, Rows: 3, Shingle: 2, Seed: 42}, Plain)
	signature := h.Signature(nil, Shingles(nil, []uint64{1, 2, 3, 4}, 2))
	if got, want := fmt.Sprintf("%08x", signature), pinnedSignature; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if got, want := fmt.Sprintf("%016x", h.BandKeys(nil, signature)), pinnedKeys; got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
}

const (
	pinnedSignature = "[1bb898f7 078fae06 52663678 17dc2b79 1930a040 15c8bc6f]"
	pinnedKeys      = "[b90594a1c7cdb665 3dc335d8792cc00d]"
)

func TestSignatureOfSet(t *testing.T) {
	h := mustHasher(t, Params{Bands: 14, Rows: 8, Shingle: 5}, Kernels()[0])
	shingles := randomSet(rand.New(rand.NewPCG(3, 4)), 50)
	want := h.Signature(nil, shingles)
	slices.Reverse(shingles)
	shingles = append(shingles, shingles[7], shingles[3])
	if got := h.Signature(nil, shingles); !slices.Equal(got, want) {
		t.Error("order or repetition of shingles changes the signature")
	}
	if n := len(h.Signature(nil, nil)); n != 0 {
		t.Errorf("no shingles make %d minima", n)
	}
	if n := len(h.BandKeys(nil, nil)); n != 0 {
		t.Errorf("no minima make %d keys", n)
	}
	if a := Agreement(want, nil); a != 0 {
		t.Errorf("agreement with nothing is %v", a)
	}
}

// TestBandKeys checks that a key says which band it is of and nothing but its rows.
func TestBandKeys(t *testing.T) {
	h := mustHasher(t, Params{Bands: 3, Rows: 2, Shingle: 5}, Plain)
	keys := h.BandKeys(nil, []uint32{1, 2, 1, 2, 2, 1})
	if keys[0] == keys[1] || keys[1] == keys[2] {
		t.Errorf("bands with other numbers or other order share a key: %x", keys)
	}
	other := h.BandKeys(nil, []uint32{1, 2, 1, 3, 2, 1})
	if keys[0] != other[0] || keys[1] == other[1] || keys[2] != other[2] {
		t.Errorf("only the key of band 1 should differ: %x and %x", keys, other)
	}
}

// TestCurve has probabilities published or computed for well-known settings.
func TestCurve(t *testing.T) {
	for _, c := range []struct {
		bands, rows        int
		threshold, jaccard float64
		probability        float64
	}{
		{14, 8, .719, .7, .564}, {14, 8, .719, .8, .924}, {14, 8, .719, .9, .9996},
		{20, 13, .794, .8, .677}, {20, 13, .794, .85, .924}, {26, 11, .744, .7, .405},
		{450, 20, .737, .75, .761}, {20, 5, .549, .5, .470}, {1, 128, 1, 1, 1}, {9, 3, .481, 0, 0},
	} {
		p := Params{Bands: c.bands, Rows: c.rows}
		if got := p.Threshold(); math.Abs(got-c.threshold) > .0005 {
			t.Errorf("%dx%d: threshold %.4f, want %.3f", c.bands, c.rows, got, c.threshold)
		}
		if got := p.CandidateProbability(c.jaccard); math.Abs(got-c.probability) > .0006 {
			t.Errorf("%dx%d at %v: probability %.4f, want %.4f", c.bands, c.rows, c.jaccard, got, c.probability)
		}
	}
	if got := (Params{Bands: 1, Rows: 100}).CandidateProbability(.1); math.Abs(got/1e-100-1) > 1e-9 {
		t.Errorf("tiny probability %v, want 1e-100", got)
	}
}

func TestNewHasherErrors(t *testing.T) {
	good := Params{Bands: 2, Rows: 2, Shingle: 1}
	for _, c := range []struct {
		p    Params
		k    Kernel
		want string
	}{
		{Params{0, 2, 1, 0}, Plain, "bands is 0"},
		{Params{2, -1, 1, 0}, Plain, "rows is -1"},
		{Params{2, 2, 0, 0}, Plain, "shingle is 0 words"},
		{Params{math.MaxInt, 2, 1, 0}, Plain, "more than 65536 permutations"},
		{good, "sse", `no kernel "sse"`},
	} {
		if _, err := NewHasher(c.p, c.k); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v on %q: error %v, want one with %q", c.p, c.k, err, c.want)
		}
	}
	for _, k := range []Kernel{AVX512, AVX2, Plain} {
		_, err := NewHasher(good, k)
		if here := slices.Contains(Kernels(), k); (err == nil) != here {
			t.Errorf("kernel %s is listed: %v, but error %v", k, here, err)
		}
	}
}

// pairOfSets returns two sets of n random shingles that share some.
func pairOfSets(r *rand.Rand, n, shared int) (a, b []uint64) {
	all := randomSet(r, 2*n-shared)
	return all[:n], all[n-shared:]
}

// qualityPairs is the number of pairs per point: the ratio of a measured to a true
// standard error then has a standard error of about 1/sqrt(2*pairs), 0.8 %, and up to
// 1.1 % for the skewed ones.
const qualityPairs = 8000

// qualityHashers are hashers of different seeds, so that no single family of
// permutations decides.
func qualityHashers(t *testing.T, bands, rows int) []*Hasher {
	var out []*Hasher
	for seed := range uint64(20) {
		out = append(out, mustHasher(t, Params{Bands: bands, Rows: rows, Shingle: 5, Seed: seed}, Kernels()[0]))
	}
	return out
}

// TestEstimateError compares the error of Agreement with theory, sqrt(J*(1-J)/K).
func TestEstimateError(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	hashers := qualityHashers(t, 14, 8)
	for _, c := range []struct{ n, shared int }{
		{30, 20}, {30, 26}, {100, 67}, {100, 86}, {300, 200}, {300, 257}, {1500, 1000}, {1500, 1286},
	} {
		jaccard := float64(c.shared) / float64(2*c.n-c.shared)
		var squares, errors float64
		for i := range qualityPairs {
			h := hashers[i%len(hashers)]
			a, b := pairOfSets(r, c.n, c.shared)
			e := Agreement(h.Signature(nil, a), h.Signature(nil, b)) - jaccard
			errors += e
			squares += e * e
		}
		theory := math.Sqrt(jaccard * (1 - jaccard) / 112)
		ratio := math.Sqrt(squares/qualityPairs) / theory
		bias := errors / qualityPairs / theory * math.Sqrt(qualityPairs)
		t.Logf("%d shingles, Jaccard %.3f: error/theory %.3f, bias %.1f standard errors", c.n, jaccard, ratio, bias)
		if ratio < .97 || ratio > 1.03 {
			t.Errorf("%d shingles, Jaccard %.3f: error is %.3f of theory", c.n, jaccard, ratio)
		}
		if math.Abs(bias) > 4 {
			t.Errorf("%d shingles, Jaccard %.3f: bias of %.1f standard errors", c.n, jaccard, bias)
		}
	}
}

// TestCandidateRate compares how often pairs share a band with the curve, within four
// binomial standard errors.
func TestCandidateRate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, shape := range [][2]int{{14, 8}, {20, 5}} {
		hashers := qualityHashers(t, shape[0], shape[1])
		for _, c := range []struct{ n, shared int }{{30, 20}, {30, 26}, {100, 75}, {300, 230}, {300, 257}, {300, 285}} {
			jaccard := float64(c.shared) / float64(2*c.n-c.shared)
			found := 0
			for i := range qualityPairs {
				h := hashers[i%len(hashers)]
				a, b := pairOfSets(r, c.n, c.shared)
				ka, kb := h.BandKeys(nil, h.Signature(nil, a)), h.BandKeys(nil, h.Signature(nil, b))
				if slices.ContainsFunc(ka, func(key uint64) bool { return slices.Contains(kb, key) }) {
					found++
				}
			}
			p := hashers[0].Params().CandidateProbability(jaccard)
			rate := float64(found) / qualityPairs
			margin := 4 * math.Sqrt(p*(1-p)/qualityPairs)
			t.Logf("%v, %d shingles, Jaccard %.3f: rate %.4f, curve %.4f", shape, c.n, jaccard, rate, p)
			if math.Abs(rate-p) > margin {
				t.Errorf("%v, %d shingles, Jaccard %.3f: rate %.4f, curve %.4f +- %.4f", shape, c.n, jaccard, rate, p, margin)
			}
		}
	}
}

func BenchmarkSignature(b *testing.B) {
	shingles := randomSet(rand.New(rand.NewPCG(1, 2)), benchWords-4)
	for _, k := range Kernels() {
		for _, shape := range [][2]int{{14, 8}, {20, 13}} {
			b.Run(fmt.Sprintf("%s/%dx%d", k, shape[0], shape[1]), func(b *testing.B) {
				h := mustHasher(b, Params{Bands: shape[0], Rows: shape[1], Shingle: 5}, k)
				var signature []uint32
				for b.Loop() {
					signature = h.Signature(signature[:0], shingles)
				}
				perDocument(b)
			})
		}
	}
}

// BenchmarkDocument is all of the work per document: words in, keys out.
func BenchmarkDocument(b *testing.B) {
	words := randomSet(rand.New(rand.NewPCG(1, 2)), benchWords)
	h := mustHasher(b, Params{Bands: 14, Rows: 8, Shingle: 5}, Kernels()[0])
	var shingles, keys []uint64
	var signature []uint32
	for b.Loop() {
		shingles = Shingles(shingles[:0], words, 5)
		signature = h.Signature(signature[:0], shingles)
		keys = h.BandKeys(keys[:0], signature)
	}
	perDocument(b)
}
