package dedup

import "testing"

func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 2, 255, 0, 1})
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got table
		want := map[uint64]int32{}
		for i, b := range data {
			key := uint64(b)
			if b%2 == 1 {
				key <<= 56 // keys that differ in high bits only
			}
			if v := got.get(key); v != want[key] {
				t.Fatalf("key %#x has %d, want %d", key, v, want[key])
			}
			want[key] += int32(i + 1)
			*got.at(key) += int32(i + 1)
		}
		for key, v := range want {
			if got.get(key) != v {
				t.Fatalf("key %#x has %d, want %d", key, got.get(key), v)
			}
		}
	})
}

func TestTableGrows(t *testing.T) {
	var x table
	if x.get(7) != 0 {
		t.Error("an empty table has a value")
	}
	const n = 10000
	for i := range uint64(n) {
		*x.at(i * polynomialBase) = int32(i + 1)
	}
	for i := range uint64(n) {
		if v := x.get(i * polynomialBase); v != int32(i+1) {
			t.Fatalf("key %d has %d", i, v)
		}
	}
	if perKey := float64(x.bytes()) / n; perKey < 26 || perKey > 52 {
		t.Errorf("%v bytes per key, documented are 26 to 52", perKey)
	}
}
