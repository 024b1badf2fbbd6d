// Package quality measures text, keeps or drops documents by named sets of rules, and
// normalises text.
//
// A [Measurement] is one named number about a document. A [Rule] is a measurement with a
// limit and the reason to give when it fails. [Rules] are what a preset holds, in the order
// of its source; [Rules.Judge] returns the first that fails. A [Condition] is a rule of one's
// own, and a [Chain] applies sets of rules and conditions one after another. Measurements are taken only
// when a rule asks for them, share one tokenisation per document through a [Scratch], run
// in time linear in the text and are finite for any text: a share of nothing is 0.
//
// # Presets
//
// gopher-paper is the MassiveWeb filter of Rae et al. 2021 (Gopher), appendix A1.1 for
// quality and table A1 for repetition. Where the paper leaves a choice, DCLM's and
// RedPajama-V2's reading is taken, which gives its table A1 the same meaning:
//
//   - word_count and the n-grams are of UAX 29 words that begin with a letter or a number
//     (case kept, punctuation left out); mean_word_length, the symbol ratios,
//     alpha_word_ratio and stop_words are of words between white space;
//   - the hash sign and the ellipsis have a test each, as in the paper (DCLM sums them), and
//     stop words are counted once each, in any case (DCLM counts occurrences);
//   - every copy of a line or paragraph that occurs twice counts as duplicate, not the second
//     and later ones only; a document of one line has no duplicates;
//   - an n-gram that occurs once is no "top" n-gram; of several with the highest count the
//     longest counts;
//   - duplicate n-grams are measured by the union of the words they cover, and n-gram
//     fractions are of the characters in words, white space and punctuation left out.
//
// fineweb is datatrove 0.10.0's FineWebQualityFilter: non-blank lines as they stand,
// duplicates counted from the second copy on, terminal punctuation from that version's
// 159-character set (no quotation marks), words from spaCy's English tokenizer.
//
// gopher-datatrove is datatrove 0.10.0's GopherRepetitionFilter followed by its
// GopherQualityFilter, as in its FineWeb example, for English. It keeps what sets them apart
// from the paper, as measurements of its own:
//
//   - words are spaCy's tokens, punctuation included except in word count and mean length;
//   - an n-gram that occurs once can be "top": a text of a few long words is dropped for it;
//     of several with the highest count the first counts; the blanks between its words count;
//   - duplicate n-grams are compared without the blanks between their words, and the walk
//     jumps over each that it finds; all shares are of the whole text;
//   - second and later copies of lines and paragraphs are duplicates, lines are not trimmed,
//     and an empty one before the first or after the last line break is a line, too;
//   - stop words count in lower case only, and the reason for too few is
//     gopher_enough_stop_words.
//
// datatrove fails on an empty text (a division by zero in GopherRepetitionFilter) where this
// preset drops it as gopher_short_doc.
//
// connito is the row rule of connito's dataloader: at least 200 characters. Its second
// rule, that no two rows share their first 200 characters, holds for held-out rows only:
// see [Prefix].
//
// # Characters
//
// A character is a Unicode code point, as in Python's len; each byte that is not part of
// valid UTF-8 counts as one. Of texts longer than words.TextBytesMax (2 GiB) the measurements
// other than characters see that many bytes.
package quality
