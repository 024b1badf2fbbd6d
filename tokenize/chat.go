package tokenize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bzdata/tokenize/words"
)

// Message is one turn of a conversation.
type Message struct {
	Role, Content string
	// Masked says that an assistant's message is not to be predicted: mask: 1 in ESFT's data.
	Masked bool
}

// ChatTemplate renders messages as text without a template engine.
type ChatTemplate struct {
	// Begin and End stand once around the whole; End may ask for an answer, as
	// add_generation_prompt does.
	Begin, End string
	// Turns gives the text of a turn by role, with {{content}} and {{role}} in it; the
	// key "" serves every other role.
	Turns map[string]string
}

// Render returns the text. A role without a turn is an error.
func (c ChatTemplate) Render(messages []Message) (string, error) {
	text, _, err := c.RenderTargets(messages)
	return text, err
}

// RenderTargets is [ChatTemplate.Render], and says which parts of the text an assistant's
// messages are: from the content, and the spaces before it, to the end of the turn.
func (c ChatTemplate) RenderTargets(messages []Message) (string, []Span, error) {
	var b strings.Builder
	b.WriteString(c.Begin)
	targets := []Span{}
	for i, m := range messages {
		turn, ok := c.Turns[m.Role]
		if !ok {
			turn, ok = c.Turns[""]
		}
		if !ok {
			return "", nil, fmt.Errorf("messages[%d].role: the chat template has no turn for %q", i, m.Role)
		}
		fill := strings.NewReplacer("{{content}}", m.Content, "{{role}}", m.Role)
		before, _, _ := strings.Cut(turn, "{{content}}")
		start := b.Len() + len(strings.TrimRight(fill.Replace(before), " "))
		b.WriteString(fill.Replace(turn))
		if m.Role == "assistant" && !m.Masked {
			targets = append(targets, Span{start, b.Len()})
		}
	}
	b.WriteString(c.End)
	return b.String(), joinSpans(targets), nil
}

// Span is a part of a text, in bytes.
type Span struct{ Start, End int }

// PrepareChat is [PackOptions.PrepareTargets] for a text that a chat template wrote, in which
// special tokens are spelled out: they are found, and none are put around it.
func (o PackOptions) PrepareChat(t *Tokenizer, info DocumentInfo, text string, targets []Span) (Document, error) {
	o.AddSpecial, o.FindSpecial = false, true
	return o.PrepareTargets(t, info, text, targets)
}

// errTraced is the error of tokens that do not spell out their text.
var errTraced = errors.New("the tokenizer's tokens cannot be traced back to the text that they stand for; " +
	"let all of a conversation be learnt")

// masked marks the tokens of text that have no byte in one of the spans: a token in which an
// answer begins must be said as a whole.
func (t *Tokenizer) masked(ids []int32, text string, targets []Span) ([]bool, error) {
	var ends []int // of what is between and in the spans, in the bytes that the tokens spell
	n, from := 0, 0
	for _, s := range append(slices.Clone(targets), Span{len(text), len(text)}) {
		start, end := min(s.Start, len(text)), min(s.End, len(text))
		if start < from || end < start {
			return nil, fmt.Errorf("target %d:%d does not follow %d", s.Start, s.End, from)
		}
		for _, part := range []string{text[from:start], text[start:end]} {
			n += t.spelledBytes(part)
			ends = append(ends, n)
		}
		from = end
	}
	masked := make([]bool, len(ids))
	at, part := 0, 0
	var buf []byte
	for i, id := range ids {
		for part < len(ends)-1 && at >= ends[part] {
			part++
		}
		masked[i] = part%2 == 0
		buf = t.AppendToken(buf[:0], id)
		at += len(buf)
		for ; part < len(ends)-1 && at > ends[part]; part++ {
			if part%2 == 0 && ends[part+1] > ends[part] { // it reaches into the next span
				masked[i] = false
			}
		}
	}
	if at != n {
		return nil, errTraced
	}
	return masked, nil
}

// spelledBytes is the length of what the tokens of a text spell.
func (t *Tokenizer) spelledBytes(text string) int {
	if t.Normalizes() {
		return len(formNFC.string(text))
	}
	return len(text)
}

// PrepareESFT is [PackOptions.Prepare] for a conversation as ESFT lays it out
// (deepseek-ai/ESFT, utils.py): BOS, then "User: …\n\nAssistant:" for what the user says and
// " …" with EOS for the answer, contents stripped, each turn tokenized by itself. With
// onlyAnswers, what the user says is not to be predicted.
func (o PackOptions) PrepareESFT(t *Tokenizer, info DocumentInfo, messages []Message, onlyAnswers bool) (Document, error) {
	if err := o.complete(); err != nil {
		return Document{}, err
	}
	if t.bos < 0 || t.eos < 0 {
		return Document{}, errors.New("ESFT's layout of messages needs a BOS and an EOS token, and the tokenizer names none")
	}
	d := Document{DocumentInfo: info}
	var text strings.Builder
	if len(messages) > 0 {
		d.Tokens, d.Masked = []int32{t.bos}, []bool{false}
	}
	for i, m := range messages {
		turn, answers := strings.TrimFunc(m.Content, words.IsSpace), m.Role == "assistant"
		switch {
		case answers:
			turn = " " + turn
		case m.Role == "user":
			turn = "User: " + turn + "\n\nAssistant:"
		default:
			return Document{}, fmt.Errorf("messages[%d].role: ESFT's layout has no turn for %q, only for user and assistant",
				i, m.Role)
		}
		text.WriteString(turn)
		d.Tokens = t.Encode(d.Tokens, turn)
		if answers {
			d.Tokens = append(d.Tokens, t.eos)
		}
		for len(d.Masked) < len(d.Tokens) {
			d.Masked = append(d.Masked, m.Masked && answers || onlyAnswers && !answers)
		}
	}
	d.TextBytes = uint64(text.Len())
	return o.cut(d, text.String(), 0, 0)
}
