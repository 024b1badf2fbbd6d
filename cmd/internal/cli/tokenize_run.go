package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
)

// eachText calls visit with the text of every document of the files.
func (f *tokenizeFlags) eachText(ctx context.Context, patterns []string, visit func(file, text string) error) error {
	for _, pattern := range patterns {
		_, names, err := store.Expand(store.OS(), pattern)
		var none *store.NoMatchError
		if errors.As(err, &none) {
			return &pipeline.UsageError{Msg: err.Error(), Err: err}
		} else if err != nil {
			return err
		}
		for _, name := range names {
			if err := f.eachTextOf(ctx, name, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *tokenizeFlags) eachTextOf(ctx context.Context, name string, visit func(file, text string) error) error {
	if _, err := store.FormatOf(name); err != nil {
		data, err := store.ReadAll(store.OS(), name)
		if err != nil {
			return err
		}
		return visit(name, string(data))
	}
	field := cmp.Or(f.messages, f.field)
	rows, err := store.OpenRows(store.OS(), name, store.RowOptions{Columns: []string{field}})
	if err != nil {
		return &pipeline.DataError{Msg: err.Error()}
	}
	defer rows.Close()
	var row store.Row
	for {
		switch err := errors.Join(rows.Next(&row), ctx.Err()); {
		case errors.Is(err, io.EOF) && ctx.Err() == nil:
			return nil
		case err != nil:
			return err
		case row.Bad != nil:
			return &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %v", name, row.Number+1, row.Bad)}
		}
		text, err := f.textOf(row, field)
		if err != nil {
			return &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %v", name, row.Number+1, err)}
		}
		if err := visit(name, text); err != nil {
			return err
		}
	}
}

// textOf is the text of a row: that of a field, or what the chat template makes of one.
func (f *tokenizeFlags) textOf(row store.Row, field string) (string, error) {
	i := slices.IndexFunc(row.Fields, func(x store.Field) bool { return x.Key == field })
	if i < 0 {
		return "", fmt.Errorf("there is no field %q; name another by %s", field, f.fieldFlags)
	}
	if f.chat != nil {
		chat, err := tokenize.ReadChat(row.Fields[i].Value)
		if err != nil {
			return "", err
		}
		return f.chat.Render(chat, f.generationPrompt)
	}
	text, err := store.Unquote(nil, row.Fields[i].Value)
	if err != nil {
		return "", fmt.Errorf("field %q is no text; name another by %s", field, f.fieldFlags)
	}
	return string(text), nil
}

func (f *tokenizeFlags) train(ctx context.Context, env *environment, files []string) error {
	if err := errors.Join(checkOutput("--out", f.out), checkOutput("--json", f.json)); err != nil {
		return err
	}
	var failed error
	documents, size := 0, int64(0)
	texts := func(yield func(string) bool) {
		failed = f.eachText(ctx, files, func(_, text string) error {
			documents, size = documents+1, size+int64(len(text))
			yield(text)
			return nil
		})
	}
	options := tokenize.TrainOptions{VocabSize: f.vocabSize, Special: f.special, Pattern: tokenize.Pattern(f.pattern),
		CountMin: f.minFrequency, Progress: func(int) error { return errors.Join(failed, ctx.Err()) }}
	tok, err := tokenize.Train(texts, options)
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &flagError{err}
	}
	if err := store.WriteFile(store.OS(), f.out, tok.WriteJSON); err != nil {
		return err
	}
	facts := tok.Facts()
	if f.json != "" {
		return writeJSON(env, f.json, encodeJSON(map[string]any{"documents": documents, "bytes": size, "merges": facts.Merges,
			"vocab_size": facts.VocabSize, "sha256": facts.Hash}))
	}
	_, err = fmt.Fprintf(env.stdout, "documents   %d of %d bytes\nvocabulary  %d tokens, %d merges\nwritten     %s\n",
		documents, size, facts.VocabSize, facts.Merges, f.out)
	if err == nil && facts.VocabSize < f.vocabSize {
		_, err = fmt.Fprintf(env.stdout, "note        no pair is left to merge; the vocabulary is smaller than %d\n", f.vocabSize)
	}
	return err
}

func encodeJSON(v any) func(w io.Writer) error {
	return func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		return e.Encode(v)
	}
}

// loadTokenizer reads a tokenizer; one that is not there is a mistake of usage. A file or folder goes before an
// encoding of the same name.
func loadTokenizer(name string) (*tokenize.Tokenizer, error) {
	if slices.Contains(tokenize.Encodings(), name) && !store.Exists(store.OS(), name) {
		return tokenize.Encoding(name)
	}
	tok, err := tokenize.Load(store.OS(), name)
	if err != nil && missingIsUsage(err) == err {
		return nil, &pipeline.DataError{Msg: err.Error()}
	}
	return tok, missingIsUsage(err)
}

// encodedText is a document in the JSON of encode.
type encodedText struct {
	File   string  `json:"file,omitempty"`
	Tokens int     `json:"tokens"`
	IDs    []int32 `json:"ids"`
}

// countedFile is a file in the JSON of encode --count.
type countedFile struct {
	File      string `json:"file"`
	Documents int    `json:"documents"`
	Bytes     int64  `json:"bytes"`
	Tokens    int64  `json:"tokens"`
}

func (f *tokenizeFlags) encode(ctx context.Context, env *environment, tokenizer string, files []string, hasText bool) error {
	if hasText && len(files) > 0 {
		return &flagError{errors.New("--text and a FILE do not go together")}
	}
	if err := checkOutput("--json", f.json); err != nil {
		return err
	}
	tok, err := loadTokenizer(tokenizer)
	if err != nil {
		return err
	}
	if err := f.loadChat(tokenizer, len(files)); err != nil {
		return err
	}
	each := func(visit func(file, text string) error) error { return f.eachText(ctx, files, visit) }
	if len(files) == 0 {
		each = func(visit func(file, text string) error) error { return f.given(env, hasText, visit) }
	}
	if f.count {
		return f.counts(env, tok, each)
	}
	return f.ids(env, tok, each)
}

// loadChat reads the chat template, if conversations are to be encoded.
func (f *tokenizeFlags) loadChat(tokenizer string, files int) (err error) {
	switch {
	case f.messages == "" && f.generationPrompt:
		return &flagError{errors.New("--generation-prompt goes with --messages")}
	case f.messages == "":
		return nil
	case files == 0:
		return &flagError{errors.New("--messages goes with a FILE")}
	}
	if f.chat, err = chatTemplate(tokenizer); err != nil {
		return &pipeline.DataError{Msg: err.Error()}
	}
	if f.chat == nil {
		return &pipeline.UsageError{Msg: fmt.Sprintf("there is no chat template beside %s", tokenizer)}
	}
	f.findSpecial = true
	return nil
}

// given is the text of --text or of standard input.
func (f *tokenizeFlags) given(env *environment, hasText bool, visit func(file, text string) error) error {
	if hasText {
		return visit("", f.text)
	}
	data, err := io.ReadAll(env.stdin)
	if err != nil {
		return err
	}
	return visit("", string(data))
}

type texts = func(visit func(file, text string) error) error

func (f *tokenizeFlags) tokens(tok *tokenize.Tokenizer, dst []int32, text string) []int32 {
	var prefix, suffix []int32
	if f.wrap {
		prefix, suffix = tok.Wrap()
	}
	dst = append(dst, prefix...)
	if f.findSpecial {
		dst = tok.EncodeSpecial(dst, text)
	} else {
		dst = tok.Encode(dst, text)
	}
	return append(dst, suffix...)
}

func (f *tokenizeFlags) ids(env *environment, tok *tokenize.Tokenizer, each texts) error {
	documents := []encodedText{}
	var line []byte
	err := each(func(file, text string) error {
		ids := f.tokens(tok, []int32{}, text)
		if f.json != "" {
			documents = append(documents, encodedText{file, len(ids), ids})
			return nil
		}
		line = line[:0]
		for i, id := range ids {
			if i > 0 {
				line = append(line, ' ')
			}
			line = strconv.AppendInt(line, int64(id), 10)
		}
		_, err := env.stdout.Write(append(line, '\n'))
		return err
	})
	if err != nil || f.json == "" {
		return err
	}
	return writeJSON(env, f.json, encodeJSON(map[string]any{"documents": documents}))
}

func (f *tokenizeFlags) counts(env *environment, tok *tokenize.Tokenizer, each texts) error {
	var files []countedFile
	var ids []int32
	err := each(func(file, text string) error {
		if len(files) == 0 || files[len(files)-1].File != file {
			files = append(files, countedFile{File: file})
		}
		c := &files[len(files)-1]
		ids = f.tokens(tok, ids[:0], text)
		c.Documents, c.Bytes, c.Tokens = c.Documents+1, c.Bytes+int64(len(text)), c.Tokens+int64(len(ids))
		return nil
	})
	if err != nil {
		return err
	}
	total := countedFile{File: "total"}
	for _, c := range files {
		total.Documents, total.Bytes, total.Tokens = total.Documents+c.Documents, total.Bytes+c.Bytes, total.Tokens+c.Tokens
	}
	if f.json != "" {
		return writeJSON(env, f.json, encodeJSON(map[string]any{"files": files, "total": total}))
	}
	fmt.Fprintf(env.stdout, "%12s %14s %14s %12s  %s\n", "documents", "bytes", "tokens", "bytes/token", "file")
	for _, c := range append(files, total) {
		perToken := "-"
		if c.Tokens > 0 {
			perToken = fmt.Sprintf("%.3f", float64(c.Bytes)/float64(c.Tokens))
		}
		_, err := fmt.Fprintf(env.stdout, "%12d %14d %14d %12s  %s\n", c.Documents, c.Bytes, c.Tokens, perToken, c.File)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *tokenizeFlags) decode(env *environment, tokenizer string, args []string) error {
	if err := checkOutput("--json", f.json); err != nil {
		return err
	}
	tok, err := loadTokenizer(tokenizer)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		data, err := io.ReadAll(env.stdin)
		if err != nil {
			return err
		}
		args = []string{string(data)}
	}
	var ids []int32
	for _, arg := range args {
		for _, word := range strings.FieldsFunc(arg, func(r rune) bool { return strings.ContainsRune(", \t\r\n[]", r) }) {
			id, err := strconv.ParseInt(word, 10, 32)
			if err != nil || !tok.Has(int32(id)) {
				return &flagError{fmt.Errorf("%s is the id of no token", word)}
			}
			ids = append(ids, int32(id))
		}
	}
	text := tok.Decode(ids)
	if f.json != "" {
		return writeJSON(env, f.json, encodeJSON(map[string]any{"text": string(text), "tokens": len(ids)}))
	}
	_, err = env.stdout.Write(text)
	return err
}

// vocabularyInfo is the JSON of info.
type vocabularyInfo struct {
	tokenize.Facts
	ChatTemplate string `json:"chat_template"` // none, ready, or why it cannot be rendered
}

func (f *tokenizeFlags) info(env *environment, name string) error {
	if err := checkOutput("--json", f.json); err != nil {
		return err
	}
	tok, err := loadTokenizer(name)
	if err != nil {
		return err
	}
	info := vocabularyInfo{tok.Facts(), chatTemplateState(name)}
	if f.json != "" {
		return writeJSON(env, f.json, encodeJSON(info))
	}
	w := env.stdout
	fmt.Fprintf(w, "vocabulary     %d ids, %d of them unused; %d merges\n", info.VocabSize, info.UnusedIDs, info.Merges)
	text := map[bool]string{true: "normalised first", false: "as it is"}[info.Normalizes]
	fmt.Fprintf(w, "text           cut as %s, %s\n", info.Pattern, text)
	fmt.Fprintf(w, "longest token  %d bytes, %.60q\n", info.LongestBytes, info.Longest)
	for _, role := range []struct {
		name  string
		token *tokenize.TokenFact
	}{{"BOS", info.BOS}, {"EOS", info.EOS}, {"padding", info.Pad}} {
		shown := "none"
		if role.token != nil {
			shown = fmt.Sprintf("%d %q", role.token.ID, role.token.Content)
		}
		fmt.Fprintf(w, "%-13s  %s\n", role.name, shown)
	}
	fmt.Fprintf(w, "around texts   %s before, %s after\n", contents(info.Prefix), contents(info.Suffix))
	fmt.Fprintf(w, "added tokens   %d\n", len(info.Added))
	fmt.Fprintf(w, "chat template  %s\n", info.ChatTemplate)
	_, err = fmt.Fprintf(w, "sha256         %s\n", info.Hash)
	return err
}

func contents(tokens []tokenize.TokenFact) string {
	if len(tokens) == 0 {
		return "nothing"
	}
	var out []string
	for _, t := range tokens {
		out = append(out, strconv.Quote(t.Content))
	}
	return strings.Join(out, " ")
}

// chatTemplateState says whether there is a chat template beside a tokenizer, and what is wrong with it.
func chatTemplateState(name string) string {
	m, err := chatTemplate(name)
	switch {
	case err != nil:
		return err.Error()
	case m == nil:
		return "none"
	}
	return "ready"
}

// chatTemplate reads the chat template beside a tokenizer, nil for none.
func chatTemplate(name string) (*tokenize.ModelTemplate, error) {
	dir := name
	if filepath.Ext(name) == ".json" {
		dir = filepath.Dir(name)
	}
	var contents [2][]byte
	for i, file := range []string{"tokenizer_config.json", "chat_template.jinja"} {
		if !store.Exists(store.OS(), filepath.Join(dir, file)) {
			continue
		}
		var err error
		if contents[i], err = store.ReadAll(store.OS(), filepath.Join(dir, file)); err != nil {
			return nil, err
		}
	}
	return tokenize.ReadModelTemplate("chat_template", string(contents[1]), contents[0])
}
