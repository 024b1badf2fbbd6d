package tokenize

import (
	"strings"
	"unicode/utf8"
)

// byteRunes is the alphabet of byte-level BPE (GPT-2, 2019): every byte is written
// as one printable rune. Printable Latin-1 bytes stand for themselves, the other 68
// take U+0100 onwards in byte order, so that the space 0x20 becomes "Ġ" (U+0120).
var byteRunes = makeByteRunes()

// runeBytes inverts byteRunes: the byte of each rune below its length, or −1.
var runeBytes = makeRuneBytes()

func makeByteRunes() (out [256]rune) {
	next := rune(256)
	for b := range 256 {
		switch {
		case '!' <= b && b <= '~', 0xA1 <= b && b <= 0xAC, 0xAE <= b:
			out[b] = rune(b)
		default:
			out[b] = next
			next++
		}
	}
	return out
}

func makeRuneBytes() (out [256 + 68]int16) {
	for r := range out {
		out[r] = -1
	}
	for b, r := range byteRunes {
		out[r] = int16(b)
	}
	return out
}

// toByteLevel writes bytes in the byte-level alphabet.
func toByteLevel(data string) string {
	var b strings.Builder
	for i := range len(data) {
		b.WriteRune(byteRunes[data[i]])
	}
	return b.String()
}

// fromByteLevel returns the bytes that a byte-level string stands for, or false if
// a rune of it is outside the alphabet.
func fromByteLevel(text string) (string, bool) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if int(r) >= len(runeBytes) || runeBytes[r] < 0 {
			return "", false
		}
		out = append(out, byte(runeBytes[r]))
		i += n
	}
	return string(out), true
}
