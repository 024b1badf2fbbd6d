package pipeline

import (
	"strings"
	"testing"
	"unicode"
)

// TestContentHashTwin compares every character, in several places, with the slow twin.
func TestContentHashTwin(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		c := string(r)
		for _, text := range []string{" a" + c + " b", c + "\u0301"} {
			if ContentHash(text) != contentHashSlow(text) {
				t.Fatalf("the hash of %q is not the slow one's", text)
			}
		}
	}
	pieces := []string{"", " ", "a", "\n", "\x00", "\u00ad", "\u00e9", "e", "\u0301", "\u00a0", "\xff", "\u034f"}
	for _, a := range pieces {
		for _, b := range pieces {
			for _, c := range pieces {
				for _, d := range pieces {
					if text := a + b + c + d; ContentHash(text) != contentHashSlow(text) {
						t.Fatalf("the hash of %q is not the slow one's", text)
					}
				}
			}
		}
	}
}

func FuzzContentHashTwin(f *testing.F) {
	f.Add("a\u0301\u00a0 b\u200b\xff")
	f.Add(strings.Repeat("\u0301\u0323", 40) + "\u034f\u0301 \u0308")
	f.Fuzz(func(t *testing.T, text string) {
		if ContentHash(text) != contentHashSlow(text) {
			t.Errorf("the hash of %q is not the slow one's", text)
		}
	})
}

func BenchmarkContentHash(b *testing.B) {
	prose := strings.Repeat("many words make a text, and ", 1000)
	for name, text := range map[string]string{"ascii": prose, "quote": prose + "\u2019",
		"german": strings.Repeat("Ärger über größere Wörter und so ", 1000), "japanese": strings.Repeat("これは日本語の文章です。", 1000)} {
		for twin, hash := range map[string]func(string) uint64{"fast": ContentHash, "slow": contentHashSlow} {
			b.Run(name+"/"+twin, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					hash(text)
				}
			})
		}
	}
}
