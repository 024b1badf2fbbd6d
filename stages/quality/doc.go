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
// c4-tfds and c4-datatrove are two readings of C4 (Raffel et al. 2020, section 2.2): the code
// that made it, tensorflow_datasets' text/c4_utils.py, and datatrove 0.10.0's C4QualityFilter
// with its defaults, which says of itself that it follows the paper and takes 5 sentences and
// 3 words for what the code has as 3 and 5. Both remove lines and citations and judge the
// page by what is left. c4-datatrove is exact. c4-tfds counts UAX 29 sentences for those of
// NLTK's Punkt model; it leaves out bad words, language identification and the removal of
// lines that other pages have, which are not about one text.
//
// dclm is the part of dclm_baseline_refinedweb.yaml (mlfoundations/dclm, 2025-09) that is
// about text: rules, then line modifiers, then the share of words that those removed. URL
// lists, removal of URLs, language and the classifier are left out. Its pattern for "Read
// more..." has dots that match any character, here too; letters compare in ASCII case only.
//
// madlad is the filter of documents in Kudugunta et al. 2023 (MADLAD-400), section 2.3,
// without its language rule and its list of cursed substrings. It counts in characters, as
// the paper, where datamap-rs counts bytes; sentences are cut as datamap-rs cuts them.
//
// code has the rules for source files that need neither a tokenizer nor the language:
// RedPajama v1's about line length and alphanumeric characters, NeMo Curator's about the
// number of lines, letters and XML headers, StarCoder2's notices of generated files.
//
// Presets that remove lines state what they judge as measurements, which are those of the
// text before the edit; a preset that follows in a [Chain] sees the text that is left.
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
