package cli

import (
	"errors"
	"fmt"
	"strings"

	"bzdata/pipeline"
	"bzdata/tokenize"

	"github.com/spf13/cobra"
)

// tokenizeFlags are the flags of bzdata tokenize and its parts.
type tokenizeFlags struct {
	field, json, text string
	fieldFlags        string // those by which a field is named

	vocabSize    int
	minFrequency int64
	special      []string
	pattern, out string

	findSpecial, wrap, count bool

	messages         string
	generationPrompt bool
	chat             *tokenize.ModelTemplate // for messages
}

func newTokenize(env *environment) *cobra.Command {
	parts := []*cobra.Command{newTokenizeTrain(env), newTokenizeEncode(env), newTokenizeDecode(env), newTokenizeInfo(env)}
	var list strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&list, "  %-8s  %s\n", p.Name(), p.Short)
	}
	cmd := &cobra.Command{
		Use:   "tokenize (train|encode|decode|info)",
		Short: "Train a vocabulary, and turn texts into tokens and back",
		Long: `Tokenize works with the tokenizer.json of Hugging Face and the encodings of tiktoken. FILE is a
file, a folder or a glob. Of Parquet and JSONL each row is a document, whose text is in a field; any
other file is one document.

` + list.String() + `
bzdata tokenize PART --help explains a part.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitInterrupted),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := "want train, encode, decode or info"
			if s := pipeline.Suggest(args[0], []string{"train", "encode", "decode", "info"}); s != "" {
				hint = s
			}
			return &flagError{fmt.Errorf("tokenize has no part %q; %s", args[0], hint)}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, p := range parts {
		p.DisableFlagsInUseLine = true
		p.Flags().BoolP("help", "h", false, "show this help")
		cmd.AddCommand(p)
	}
	return cmd
}

func newTokenizeTrain(env *environment) *cobra.Command {
	f := &tokenizeFlags{fieldFlags: "--field"}
	cmd := &cobra.Command{
		Use:   "train FILE…",
		Short: "Learn a byte-level BPE vocabulary and write a tokenizer.json",
		Long: `Train learns byte-level BPE: special tokens first, then the 256 bytes, then merges. The merges are
those of Hugging Face's BpeTrainer with the full byte alphabet on the same documents: the pair that
occurs most, of equals the one with the lowest ids; only that no merge spells a special token.
Memory grows with the number of distinct words.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitInterrupted),
		Args: f.files("train"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.train(cmd.Context(), env, args) },
	}
	fs := cmd.Flags()
	fs.IntVar(&f.vocabSize, "vocab-size", 0, "learn `N` tokens, special ones and bytes included")
	fs.Int64Var(&f.minFrequency, "min-frequency", 0, "merge pairs that occur `N` times or more")
	fs.StringArrayVar(&f.special, "special", nil, "a special `TOKEN`, such as \"<|endoftext|>\"; may be given again")
	fs.StringVar(&f.pattern, "pattern", string(tokenize.PatternGPT2), "how text is cut into words, a `NAME`: "+patternNames())
	fs.StringVar(&f.out, "out", "tokenizer.json", "write the tokenizer to this `FILE`")
	f.common(cmd)
	return cmd
}

func patternNames() string {
	var out []string
	for _, p := range tokenize.Patterns() {
		out = append(out, string(p))
	}
	return strings.Join(out, ", ")
}

func newTokenizeEncode(env *environment) *cobra.Command {
	f := &tokenizeFlags{fieldFlags: "--field or --messages"}
	cmd := &cobra.Command{
		Use:   "encode TOKENIZER [FILE…]",
		Short: "Print the tokens of texts, or count them",
		Long: `Encode prints the ids of each document on a line of its own. TOKENIZER is a tokenizer.json, its
folder, or an encoding of tiktoken: ` + strings.Join(tokenize.Encodings(), ", ") + `. Without
a FILE the text is that of --text, or standard input, byte for byte. With --count only documents,
bytes and tokens of each file are printed. With --messages a document is a conversation, written by
the chat template beside the tokenizer.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitInterrupted),
		Args: f.tokenizer("encode"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.encode(cmd.Context(), env, args[0], args[1:], cmd.Flags().Changed("text"))
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.text, "text", "", "encode this `TEXT`")
	fs.BoolVar(&f.findSpecial, "find-special", false, "find special tokens that the text spells out")
	fs.BoolVar(&f.wrap, "wrap", false, "put the tokenizer's special tokens around each document")
	fs.StringVar(&f.messages, "messages", "", "`FIELD` of conversations in Parquet and JSONL, instead of a text")
	fs.BoolVar(&f.generationPrompt, "generation-prompt", false, "end a conversation with the beginning of an answer")
	fs.BoolVar(&f.count, "count", false, "print counts, not ids")
	f.common(cmd)
	return cmd
}

func newTokenizeDecode(env *environment) *cobra.Command {
	f := &tokenizeFlags{}
	cmd := &cobra.Command{
		Use:   "decode TOKENIZER [ID…]",
		Short: "Print the text of tokens",
		Long: `Decode prints the bytes that ids stand for, special tokens included, and nothing else. Without an ID
they are read from standard input, separated by spaces, commas or lines.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: f.tokenizer("decode"),
		RunE: func(_ *cobra.Command, args []string) error { return f.decode(env, args[0], args[1:]) },
	}
	cmd.Flags().StringVar(&f.json, "json", "", "write the text as JSON to this `FILE` instead; - is standard output")
	return cmd
}

func newTokenizeInfo(env *environment) *cobra.Command {
	f := &tokenizeFlags{}
	cmd := &cobra.Command{
		Use:   "info TOKENIZER",
		Short: "Describe a vocabulary",
		Long: `Info prints the size of a vocabulary, its special tokens, how it cuts and normalises text, and
whether its folder has a chat template that this program can render.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: exactly(1, "one TOKENIZER, a tokenizer.json, its folder, or an encoding such as cl100k_base"),
		RunE: func(_ *cobra.Command, args []string) error { return f.info(env, args[0]) },
	}
	cmd.Flags().StringVar(&f.json, "json", "", "write all of it as JSON to this `FILE` instead; - is standard output")
	return cmd
}

func (f *tokenizeFlags) common(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.field, "field", "text", "`FIELD` of the text in Parquet and JSONL")
	cmd.Flags().StringVar(&f.json, "json", "", "write the result as JSON to this `FILE` instead; - is standard output")
}

func (f *tokenizeFlags) files(part string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return &flagError{fmt.Errorf("tokenize %s wants one FILE or more; see bzdata tokenize %s --help", part, part)}
		case f.vocabSize == 0:
			return &flagError{errors.New("--vocab-size is needed, such as --vocab-size 32000")}
		}
		return nil
	}
}

func (f *tokenizeFlags) tokenizer(part string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return &flagError{fmt.Errorf("tokenize %s wants a TOKENIZER; see bzdata tokenize %s --help", part, part)}
		}
		return nil
	}
}
