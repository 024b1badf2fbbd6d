// Package tokenize turns text into token ids and back, trains vocabularies, packs
// documents into sequences, and keeps them in token shards.
//
// # Tokenizers
//
// [Load] reads the tokenizer.json of Hugging Face for one family, byte-level BPE: GPT-2,
// cl100k (GPT-4), Llama 3, Qwen2 to Qwen3. Supported are
//
//   - model BPE with all 256 bytes in the vocabulary, merges as "a b" or ["a", "b"],
//     with or without ignore_merges; no dropout, affixes or byte_fallback;
//   - pre_tokenizer ByteLevel with use_regex, or Split by the expression of a [Pattern]
//     followed by ByteLevel; no add_prefix_space;
//   - normalizer null or NFC; added tokens without single_word, lstrip, rstrip;
//   - post_processor null, ByteLevel, TemplateProcessing or a Sequence of them;
//   - decoder ByteLevel.
//
// Anything else is an error that names the construct and its key path. truncation and
// padding are read past: they are a caller's settings.
//
// [Tokenizer.Encode] cuts text by a hand-written matcher, looks whole pieces up, then
// in a cache, and merges the rest through a table of pairs. [Tokenizer.TextbookEncode]
// is its slow twin. NFC follows the Unicode version of golang.org/x/text.
//
// [Train] learns a vocabulary and [Tokenizer.WriteJSON] writes one.
package tokenize
