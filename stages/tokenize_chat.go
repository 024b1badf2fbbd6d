package stages

import (
	"fmt"
	"path/filepath"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
)

// Layouts of conversations that are no file: the choices of chat_template.
const (
	chatAuto = "auto" // the base model's own, or else chatPlain
	chatESFT = "esft" // as ESFT trains on them
	chatNone = "none" // the derived text
)

// chatLayout says how conversations are written.
type chatLayout struct {
	template string // one of the choices above, or a file
	prompt   bool   // ask for an answer at the end, where a template can
}

// chatLayoutOf is what the plan's tokenize stage says, so that other stages read what it trains on.
func chatLayoutOf(p *pipeline.Plan) chatLayout {
	for _, s := range p.Stages {
		if c, ok := s.Config.(Tokenize); ok {
			return c.chat()
		}
	}
	return chatLayout{template: chatAuto}
}

func (c Tokenize) chat() chatLayout { return chatLayout{string(c.ChatTemplate), c.GenerationPrompt} }

// reads are the files that the layout is in.
func (l chatLayout) reads(p *pipeline.Plan) []pipeline.Read {
	if l.template == chatESFT || l.template == chatNone {
		return nil
	}
	model := string(p.Network.Base.Model)
	template := pipeline.Read{Name: "chat_template", Paths: []string{l.template}}
	if l.template == chatAuto {
		template.Paths, template.Optional = []string{model + "/chat_template.jinja"}, true
	}
	return []pipeline.Read{template, {Name: "chat_config", Paths: []string{model + "/tokenizer_config.json"}, Optional: true}}
}

// plainChat is the layout of conversations for models without a template of their own.
func plainChat() tokenize.ChatTemplate {
	return tokenize.ChatTemplate{Turns: map[string]string{
		"user": "User: {{content}}\n\n", "assistant": "Assistant: {{content}}\n\n", "": "{{role}}: {{content}}\n\n"}}
}

// conversations writes what a model reads of a document. It is safe for concurrent use.
type conversations struct {
	chatLayout
	tok   *tokenize.Tokenizer
	model *tokenize.ModelTemplate // nil for none
	// broken is why the base model's own template cannot be used: a mistake only where there are
	// conversations.
	broken error
}

// open reads the layout's files.
func (l chatLayout) open(t *pipeline.Task, tok *tokenize.Tokenizer) (*conversations, error) {
	out := &conversations{chatLayout: l, tok: tok}
	name, contents := "", map[string][]byte{}
	for _, read := range []string{"chat_config", "chat_template"} {
		if files := t.Files(read); len(files) > 0 {
			data, err := store.ReadAll(t.Inputs, files[0])
			if err != nil {
				return nil, err
			}
			name, contents[read] = filepath.Base(files[0]), data
		}
	}
	if name == "" {
		return out, nil
	}
	var err error
	out.model, err = tokenize.ReadModelTemplate("the chat template of "+name, string(contents["chat_template"]),
		contents["chat_config"])
	if err != nil {
		out.broken = &pipeline.UsageError{Err: err,
			Msg: err.Error() + "; set tokenize.chat_template to esft, none or a file of your own"}
	}
	if l.template != chatAuto {
		return out, out.broken
	}
	return out, nil
}

// render writes a conversation, but for the layout esft. targets are the parts that an assistant
// says, if they are asked for.
func (c *conversations) render(d *pipeline.Doc, wantTargets bool) (text string, targets []tokenize.Span, err error) {
	switch {
	case c.template == chatNone:
		text = d.Text
	case c.broken != nil:
		err = c.broken
	case c.model != nil:
		text, targets, err = c.renderModel(d, wantTargets)
	default:
		var turns []tokenize.Message
		if turns, err = turnsOf(d); err == nil {
			text, targets, err = plainChat().RenderTargets(turns)
		}
	}
	if !wantTargets {
		targets = nil
	}
	return text, targets, err
}

func (c *conversations) renderModel(d *pipeline.Doc, wantTargets bool) (string, []tokenize.Span, error) {
	chat, err := tokenize.ReadChat(d.Fields[d.Slot].Value)
	switch {
	case err != nil:
		return "", nil, err
	case wantTargets:
		return c.model.RenderTargets(chat, c.prompt)
	}
	text, err := c.model.Render(chat, c.prompt)
	return text, nil, err
}

// turnsOf are the messages of a document, with the masks of its record.
func turnsOf(d *pipeline.Doc) ([]tokenize.Message, error) {
	chat, err := tokenize.ReadChat(d.Fields[d.Slot].Value)
	if err != nil {
		return nil, err
	}
	masked := chat.Masked()
	out := make([]tokenize.Message, len(d.Messages))
	for i, m := range d.Messages {
		out[i] = tokenize.Message{Role: m.Role, Content: m.Content, Masked: masked[i]}
	}
	return out, nil
}

// prepare tokenizes a document, and returns the text that names it. With onlyAnswers, what
// others than the assistant say is not to be predicted.
func (c *conversations) prepare(o tokenize.PackOptions, info tokenize.DocumentInfo, d *pipeline.Doc, onlyAnswers bool) (
	doc tokenize.Document, text string, err error) {
	if d.Messages == nil {
		doc, err = o.Prepare(c.tok, info, d.Text)
		return doc, d.Text, err
	}
	if c.template == chatESFT {
		turns, err := turnsOf(d)
		if err != nil {
			return doc, "", err
		}
		if doc, err = o.PrepareESFT(c.tok, info, turns, onlyAnswers); err == nil {
			text, err = plainChat().Render(turns)
		}
		return doc, text, err
	}
	text, targets, err := c.render(d, onlyAnswers && c.template != chatNone)
	switch {
	case err != nil:
		return doc, text, err
	case c.model == nil && targets == nil:
		doc, err = o.Prepare(c.tok, info, text)
	case c.model == nil:
		doc, err = o.PrepareTargets(c.tok, info, text, targets)
	default:
		doc, err = o.PrepareChat(c.tok, info, text, targets)
	}
	return doc, text, err
}

// encode appends the tokens of a document, without special tokens around a text.
func (c *conversations) encode(dst []int32, d *pipeline.Doc) (ids []int32, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", d.Name(), err)
		}
	}()
	switch {
	case d.Messages == nil:
		return c.tok.Encode(dst, d.Text), nil
	case c.template == chatESFT:
		o := tokenize.PackOptions{Packing: tokenize.PackESFT, SequenceLength: 2}
		turns, err := turnsOf(d)
		if err != nil {
			return dst, err
		}
		doc, err := o.PrepareESFT(c.tok, tokenize.DocumentInfo{}, turns, false)
		return append(dst, doc.Tokens...), err
	}
	text, _, err := c.render(d, false)
	switch {
	case err != nil:
		return dst, err
	case c.model != nil:
		return c.tok.EncodeSpecial(dst, text), nil
	}
	return c.tok.Encode(dst, text), nil
}
