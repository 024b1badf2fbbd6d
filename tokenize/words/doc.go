// Package words finds words, lines, paragraphs and sentences in text: each definition
// that the quality presets, the shingles of near-duplicate search and the n-gram models
// use. Every function makes one pass, appends byte spans (or word hashes) to a slice of
// the caller's, and allocates nothing else; all take strings and byte slices alike.
//
// # Definitions
//
//   - Space ([AppendSpace]): what Python's str.split() returns, runs of anything but
//     Unicode white space. Gopher's and DCLM's word lengths and ratios are of these.
//   - UAX29 ([AppendUAX29], [CountUAX29]): the word segments of Unicode Standard Annex 29,
//     white space and control segments left out, the rest told apart by [Class]: words
//     (with a letter or a number), symbols ("€", "+", an emoji) and punctuation.
//   - Shingle ([AppendWords], [AppendHashes], [AppendHashed]): maximal runs of letters and
//     numbers, compared in lower case. MinHash shingles, the 13-gram overlap with held-out
//     text and the n-gram language models are made of these.
//   - Lines ([AppendLines]): the pieces between "\n" that are not blank, as they stand.
//   - Paragraphs ([AppendParagraphs]): the pieces between empty lines, trimmed, not blank.
//   - Sentences ([CountSentences]): UAX 29 sentence segments that are not blank.
//
// # The Shingle rule
//
// Letters are Unicode category L, numbers category N, marks category M together with
// U+200C and U+200D, the joiners of Persian and Indic spelling. A letter or number starts
// a word or continues one; a mark continues the word it follows and starts none; anything
// else, a byte that is not UTF-8 included, ends it. Scripts written without spaces have no
// such runs to go by, so each letter of Han, Hiragana, Katakana, Thai, Lao, Khmer and
// Myanmar, and of the blocks U+3000-U+30FF and U+FF66-U+FF9F, is a word by itself together
// with the marks that follow it; decimal digits of those scripts form runs like any other.
// So "Don't" is two words, "naïve" and "हिन्दी" are one, "東京 2020" is three, and Korean,
// which is written with spaces, has its own words.
//
// # Hashes
//
// A word's hash is [Hash] of its lower-cased UTF-8 bytes, lower case being Unicode's simple
// mapping rune by rune (unicode.ToLower). The function is fixed by constants in this package
// and is the same on every machine and in every run; stored indexes rely on it, so changing
// it is a change of format.
package words
