package network

import (
	"math/big"
	"math/bits"
)

// mersenne is the generator of Python's module random: MT19937 (Matsumoto and Nishimura 1998), seeded by an array.
type mersenne struct {
	state [mersenneWords]uint32
	at    int
}

const (
	mersenneWords = 624
	mersenneApart = 397
)

// newMersenne is random.seed(seed) for a whole number: Modules/_randommodule.c, random_seed and init_by_array.
func newMersenne(seed *big.Int) *mersenne {
	key := []uint32{}
	for rest, low := new(big.Int).Abs(seed), new(big.Int); rest.Sign() > 0; rest.Rsh(rest, 32) {
		key = append(key, uint32(low.And(rest, big.NewInt(0xffffffff)).Uint64()))
	}
	if len(key) == 0 {
		key = append(key, 0)
	}
	m := &mersenne{at: mersenneWords}
	s := &m.state
	s[0] = 19650218
	for i := uint32(1); i < mersenneWords; i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + i
	}
	i, j := 1, 0
	next := func() {
		if i++; i == mersenneWords {
			s[0], i = s[mersenneWords-1], 1
		}
	}
	for range max(mersenneWords, len(key)) {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + key[j] + uint32(j)
		next()
		j = (j + 1) % len(key)
	}
	for range mersenneWords - 1 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		next()
	}
	s[0] = 1 << 31
	return m
}

// uint32 is the next output.
func (m *mersenne) uint32() uint32 {
	if m.at == mersenneWords {
		for i := range m.state {
			y := m.state[i]&(1<<31) | m.state[(i+1)%mersenneWords]&(1<<31-1)
			m.state[i] = m.state[(i+mersenneApart)%mersenneWords] ^ y>>1 ^ y&1*0x9908b0df
		}
		m.at = 0
	}
	y := m.state[m.at]
	m.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// bits is getrandbits(k), for k from 1 to 64.
func (m *mersenne) bits(k int) uint64 {
	if k <= 32 {
		return uint64(m.uint32() >> (32 - k))
	}
	low := uint64(m.uint32())
	return uint64(m.uint32()>>(64-k))<<32 | low
}

// below is a number from 0 to n − 1: _randbelow of Lib/random.py, by which randint and choice draw.
func (m *mersenne) below(n uint64) uint64 {
	k := bits.Len64(n)
	for {
		if r := m.bits(k); r < n {
			return r
		}
	}
}

// shuffle is random.shuffle.
func (m *mersenne) shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, int(m.below(uint64(i)+1)))
	}
}
