// Package match finds the pieces of text that the regular expressions of tokenizer.json
// files describe, with the meaning that Oniguruma gives them in its Ruby syntax, as
// Hugging Face tokenizers uses it, and Unicode 16.0.
//
// [Compile] takes the part of the language that tokenizers use:
//
//   - literals, the escapes \n \r \t \f \v \a \e \xHH \x{H…} \uHHHH, and \ before a symbol;
//   - "." (no line break), \s \S \d \D \w \W \h \H, \p{…} \P{…} \p{^…} with the short names of
//     general categories and the scripts Arabic, Cyrillic, Greek, Han, Hangul, Hiragana,
//     Katakana, Latin and Thai;
//   - classes [...] and [^...] of these and of ranges;
//   - groups (…), (?:…), and (?i:…) over ASCII; alternation, the leftmost branch first;
//   - *, +, ?, {n}, {n,}, {,m}, {n,m}; lazy with ?; possessive with + after *, + and ? of one
//     character (after {…} a + repeats once more, as in Ruby);
//   - look-ahead (?=…) and (?!…), ^ and $ at lines, \A and \z at the text.
//
// Everything else is an error that names the construct.
//
// The matcher backtracks, but remembers which places of a pattern failed where in the
// text, so that its time is linear in the text for every pattern.
package match
