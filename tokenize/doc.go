// Package tokenize turns text into token ids and back, trains vocabularies, packs
// documents into sequences, and keeps them in token shards.
//
// # Tokenizers
//
// [Load] reads the tokenizer.json of Hugging Face and gives the ids that Hugging Face
// tokenizers 0.23 gives. The simple family is complete byte-level BPE, cut by one of the
// [Patterns], with no normalizer or NFC, plain added tokens and the decoder ByteLevel: GPT-2,
// GPT-4, GPT-4o, Llama 3, Qwen2 to Qwen3, Mistral's tekken, DeepSeek V3. Beyond it are read
//
//   - models BPE (merges as "a b" or ["a", "b"], ignore_merges, unk_token, fuse_unk,
//     byte_fallback, continuing_subword_prefix, end_of_word_suffix; no dropout) and Unigram
//     (unk_id, byte_fallback);
//   - normalizers NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend,
//     Precompiled, Nmt, ByteLevel and Sequence;
//   - pre-tokenizers ByteLevel, Split with every behavior, Metaspace, Digits, Punctuation,
//     Whitespace, WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit, FixedLength and
//     Sequence;
//   - regular expressions as far as package match goes;
//   - added tokens with single_word, lstrip, rstrip and normalized;
//   - post-processors ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing and
//     Sequence, for one text: [Tokenizer.Wrap]. Offsets are not trimmed;
//   - decoders ByteLevel, ByteFallback, Fuse, Metaspace, Strip, Replace and Sequence.
//
// Not read are the models WordPiece and WordLevel, the normalizer BertNormalizer, the
// pre-tokenizer UnicodeScripts, the decoders WordPiece, BPEDecoder and CTC, and templates for
// pairs of texts. Anything that is not read is an error that names the construct and its key
// path. truncation and padding are read past: they are a caller's settings.
//
// [Encoding] gives the encodings of tiktoken, whose tables of ranks are part of the program.
//
// [Tokenizer.Encode] cuts text of the simple family 64 bytes at a time, by words of a bit for
// each byte (with AVX2 where there is), and goes on by a hand-written matcher where those do
// not tell, with DeepSeek's patterns always; looks pieces up among those met lately, two to a
// cache line, then in a table of whole words, then in a cache; and merges the rest through a
// table of pairs, the due merge being found without a branch. [Tokenizer.TextbookEncode] is its
// slow twin. Other tokenizers go through the same steps as in the library; byte-level ones share
// pieces and cache with the simple family, and BPE over characters is cut where no merge can
// reach across. [Tokenizer.EncodeOffsets] tells what each token stands for.
//
// [Train] learns a vocabulary and [Tokenizer.WriteJSON] writes one.
//
// # Conversations
//
// A [ModelTemplate] is a model's own chat template, in the language of package jinja; a
// [ChatTemplate] a layout without one. Both say which parts of their text an assistant says,
// and [PackOptions.PrepareChat] and [PackOptions.PrepareTargets] mask the tokens of all others.
// [PackOptions.PrepareESFT] tokenizes turn by turn as ESFT does.
//
// # Packing
//
// [PackOptions.Prepare] tokenizes documents, in parallel if wanted, and a [Packer] lays
// them out in order as sequences of one length with a target flag for each token; see
// [Packing] for the ways. Token i of a sequence is predicted from the tokens 0 to i−1 of that
// sequence, those of other documents included: there is no attention by document. Padding,
// masked tokens and the first token are no targets. Each sequence says which tokens
// belong to which document, so that losses can be summed by document and by source.
//
// Order is not packing's: documents come in the order given. Package train draws the
// sequences of a shard in a seeded order for each epoch, which resumes at a position.
//
// [Datatrove] and [Megatron] write documents for the loaders of others.
//
// # Token shards
//
// A shard is one file, made to be mapped into memory or read at any offset. Numbers are
// little-endian, unsigned but for the three ids. Sections follow each other in the order
// below, each at the next multiple of 64 bytes; the gaps are zero. The file ends with the
// last section.
//
//	offset size  header, 192 bytes
//	     0    8  "BZTOKENS"
//	     8    4  version, 1
//	    12    4  W, bytes of a token: 2 or 4
//	    16    4  flags: bit 0, the targets section is there
//	    20    4  vocabulary size; at most 65536 if W is 2
//	    24    4  L, tokens of a sequence
//	    28    4  number of sources
//	    32   12  ids of BOS, EOS and padding, 4 bytes each, signed, −1 for none
//	    44    4  0
//	    48    8  N, sequences
//	    56    8  S, segments
//	    64    8  D, documents
//	    72    8  tokens that lie in segments: all but the padding
//	    80    8  targets
//	    88    8  bytes of the names section
//	    96    8  bytes of the document ids section
//	   104   32  SHA-256 that names the tokenizer, see [Tokenizer.Hash]
//	   136   16  XXH3-128 of the file from byte 192 to its end, big-endian
//	   152   32  0
//	   184    8  XXH3-64 of bytes 0 to 183
//
//	section    content
//	names      packing, data key, then the sources: for each, 4 bytes of length and UTF-8
//	tokens     N × L tokens of W bytes
//	targets    if flagged, N × ⌈L/8⌉ bytes: bit i%8 of byte i/8 tells whether token i is a
//	           target. Without it every token but the first of each sequence is one.
//	index      N+1 numbers of 8 bytes: the first segment of each sequence, then S
//	segments   S × 16 bytes: document (its place in the table), start and end in the
//	           sequence, position in the document of the first token; 4 bytes each
//	documents  D × 32 bytes: ordinal in the data set (8), bytes of text (8), tokens (4),
//	           source (4), start (4) and length (4) of its id in the last section
//	ids        the documents' ids, joined
package tokenize
