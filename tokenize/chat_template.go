package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"bzdata/tokenize/jinja"
)

// ModelTemplate is a model's own chat template, as transformers' apply_chat_template has it.
type ModelTemplate struct {
	tmpl *jinja.Template
	vars map[string]any // bos_token and the like
}

// ReadModelTemplate reads a template. If template is empty, it is chat_template in config, a
// tokenizer_config.json, which also names the special tokens; it may be nil. Where there is no
// template, the result is nil. name stands in errors, of the template and of rendering.
func ReadModelTemplate(name, template string, config []byte) (*ModelTemplate, error) {
	out := &ModelTemplate{vars: map[string]any{"tools": nil, "documents": nil}}
	if config != nil {
		own, err := out.readConfig(config)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if template == "" {
			template = own
		}
	}
	if template == "" {
		return nil, nil
	}
	var err error
	out.tmpl, err = jinja.Parse(name, template)
	return out, err
}

// readConfig takes the special tokens from a tokenizer_config.json, and returns its template:
// of several the one named default.
func (m *ModelTemplate) readConfig(config []byte) (template string, err error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(config, &c); err != nil {
		return "", err
	}
	for key, raw := range c {
		var text string
		var token struct{ Content *string }
		switch {
		case !strings.HasSuffix(key, "_token") || string(raw) == "null":
		case json.Unmarshal(raw, &text) == nil:
			m.vars[key] = text
		case json.Unmarshal(raw, &token) == nil && token.Content != nil:
			m.vars[key] = *token.Content
		}
	}
	raw := c["chat_template"]
	var several []struct{ Name, Template string }
	switch {
	case raw == nil || string(raw) == "null" || json.Unmarshal(raw, &template) == nil:
		return template, nil
	case json.Unmarshal(raw, &several) != nil:
		return "", errors.New("chat_template is neither a text nor a list of {name, template}")
	}
	for _, t := range several {
		if t.Name == "default" {
			return t.Template, nil
		}
	}
	return "", errors.New(`chat_template is a list without an entry named "default"`)
}

// Chat is a conversation for a [ModelTemplate]: a JSON list of messages.
type Chat struct{ messages *jinja.List }

// ReadChat reads a JSON list of messages, with all their members.
func ReadChat(raw []byte) (Chat, error) {
	v, err := jinja.FromJSON(raw)
	if err != nil {
		return Chat{}, fmt.Errorf("messages: %w", err)
	}
	list, ok := v.(*jinja.List)
	if !ok {
		return Chat{}, errors.New("messages: no list")
	}
	for i, m := range list.Items {
		if _, ok := m.(*jinja.Map); !ok {
			return Chat{}, fmt.Errorf("messages[%d]: no object", i)
		}
	}
	return Chat{list}, nil
}

// Masked says of each message whether it has mask: 1, as ESFT's data marks answers that are not
// to be predicted.
func (c Chat) Masked() []bool {
	out := make([]bool, len(c.messages.Items))
	for i, v := range c.messages.Items {
		out[i] = isMasked(v)
	}
	return out
}

func isMasked(message any) bool {
	mask, _ := message.(*jinja.Map).Get("mask")
	return mask == int64(1)
}

// Render returns the text of a conversation. generationPrompt asks for an answer at its end, as
// add_generation_prompt does.
func (m *ModelTemplate) Render(c Chat, generationPrompt bool) (string, error) {
	out, err := m.render(c.messages.Items, generationPrompt)
	return out.Text, err
}

func (m *ModelTemplate) render(messages []any, generationPrompt bool) (jinja.Output, error) {
	vars := map[string]any{"messages": &jinja.List{Items: messages}, "add_generation_prompt": generationPrompt}
	for key, v := range m.vars {
		vars[key] = v
	}
	return m.tmpl.Render(vars, jinja.Limits{})
}

// RenderTargets is [ModelTemplate.Render], and says which parts of the text an assistant's
// messages are. They are what generation blocks wrote, if the template has any. Otherwise a
// part is what a loop over the messages wrote for one, from where it first differs from the
// conversation before with a generation prompt; the end-of-turn token is in it. Messages with
// mask: 1 are none.
func (m *ModelTemplate) RenderTargets(c Chat, generationPrompt bool) (string, []Span, error) {
	messages := c.messages.Items
	out, err := m.render(messages, generationPrompt)
	if err != nil {
		return "", nil, err
	}
	targets := []Span{}
	if m.tmpl.HasGenerations() {
		for _, s := range out.Generations {
			targets = append(targets, Span(s))
		}
		return out.Text, joinSpans(targets), nil
	}
	for i, v := range messages {
		if role, _ := v.(*jinja.Map).Get("role"); role != "assistant" || isMasked(v) {
			continue
		}
		said, err := m.said(messages, i, out)
		if err != nil {
			return "", nil, err
		}
		targets = append(targets, said...)
	}
	return out.Text, joinSpans(targets), nil
}

// said returns what of out is what the assistant says with message i.
func (m *ModelTemplate) said(messages []any, i int, out jinja.Output) (said []Span, err error) {
	start := 0
	if i > 0 {
		before, err := m.render(messages[:i], true)
		if err != nil {
			return nil, fmt.Errorf("the conversation before messages[%d], to tell the assistant's part: %w", i, err)
		}
		start = commonPrefix(before.Text, out.Text)
	}
	for _, s := range out.Items {
		if s.Item == messages[i] && s.End > start {
			said = append(said, Span{max(s.Start, start), s.End})
		}
	}
	if len(said) == 0 {
		return nil, fmt.Errorf("messages[%d]: the chat template writes nothing for what the assistant says in a loop over the "+
			"messages, so it cannot be told apart; let all of a conversation be learnt", i)
	}
	return said, nil
}

// commonPrefix is the length of the longest common prefix of two texts, in whole characters.
func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for n < len(b) && n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return n
}

// joinSpans sorts spans and joins those that overlap or touch.
func joinSpans(spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return a.Start - b.Start })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, s.End)
		} else {
			out = append(out, s)
		}
	}
	return out
}
