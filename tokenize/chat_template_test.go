package tokenize

import (
	"strings"
	"testing"

	"bzdata/tokenize/jinja"
)

const chatML = `{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// instructs has no header of its own for an answer, and thinks writes thoughts for the last answer only.
const instructs = `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}`
const thinks = `{% for m in messages[0:] %}{{ '<' ~ m.role ~ '>' }}{% if m.role == 'assistant' and loop.last %}{{ '<think>' ~ m.thought ~ '</think>' }}{% endif %}` +
	`{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}`
const marked = `{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }};{% endgeneration %}{% else %}U:{{ m.content }}{% endif %}{% endfor %}`

const turns = `[{"role":"user","content":"q1"},{"role":"assistant","content":"é1","thought":"t1"},
	{"role":"user","content":"q2"},{"role":"assistant","content":"a2","thought":"t2"}]`

func TestRenderTargets(t *testing.T) {
	for name, c := range map[string]struct{ template, text, learnt string }{
		"chatml": {chatML, "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\né1<|im_end|>\n<|im_start|>user\nq2<|im_end|>\n" +
			"<|im_start|>assistant\na2<|im_end|>\n", "é1<|im_end|>\n,a2<|im_end|>\n"},
		"instructs": {instructs, "<s>[INST] q1 [/INST] é1</s>[INST] q2 [/INST] a2</s>", " é1</s>, a2</s>"},
		"thinks": {thinks, "<user>q1<end><assistant>é1<end><user>q2<end><assistant><think>t2</think>a2<end>",
			"é1<end>,t2</think>a2<end>"},
		"marked": {marked, "U:q1A:é1;U:q2A:a2;", "é1;,a2;"},
	} {
		m, err := ReadModelTemplate("chat", c.template, []byte(`{"bos_token": {"content": "<s>"}, "pad_token": null}`))
		if err != nil {
			t.Fatal(err)
		}
		chat, err := ReadChat([]byte(turns))
		if err != nil {
			t.Fatal(err)
		}
		text, targets, err := m.RenderTargets(chat, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var learnt []string
		for _, s := range targets {
			learnt = append(learnt, text[s.Start:s.End])
		}
		if got := strings.Join(learnt, ","); text != c.text || got != c.learnt {
			t.Errorf("%s: %q learns %q\nwant %q learns %q", name, text, got, c.text, c.learnt)
		}
		if plain, err := m.Render(chat, false); err != nil || plain != text {
			t.Errorf("%s: Render gave %q, %v", name, plain, err)
		}
	}
}

// TestMaskedMessages wants answers with mask: 1 left out.
func TestMaskedMessages(t *testing.T) {
	m, err := ReadModelTemplate("chat", chatML, nil)
	if err != nil {
		t.Fatal(err)
	}
	chat, err := ReadChat([]byte(strings.Replace(turns, `"thought":"t1"`, `"mask":1`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	text, targets, err := m.RenderTargets(chat, false)
	if err != nil || len(targets) != 1 || text[targets[0].Start:targets[0].End] != "a2<|im_end|>\n" {
		t.Errorf("%v of %q, %v", targets, text, err)
	}
	if got := chat.Masked(); len(got) != 4 || !got[1] || got[3] {
		t.Errorf("masks %v", got)
	}
}

func TestRenderTargetsErrors(t *testing.T) {
	for template, want := range map[string]string{
		`{{ messages[0].content }}`: "messages[1]: the chat template writes nothing for what the assistant says",
		`{% for m in messages %}{{ m.content }}{% endfor %}{% if messages|length % 2 %}{{ raise_exception('odd') }}{% endif %}`: "the conversation before messages[1]",
	} {
		m, err := ReadModelTemplate("chat", template, nil)
		if err != nil {
			t.Fatal(err)
		}
		chat, err := ReadChat([]byte(turns))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.RenderTargets(chat, false); err == nil || !containsText(err, want) {
			t.Errorf("%q: %v, want %q", template, err, want)
		}
	}
	for _, raw := range []string{`{`, `{}`, `[1]`, `[{}`} {
		if _, err := ReadChat([]byte(raw)); err == nil {
			t.Errorf("%s was read as a conversation", raw)
		}
	}
}

func TestReadModelTemplate(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                      "none",
		`{"chat_template": null}`: "none",
		`{"chat_template": "a{{ eos_token }}", "eos_token": "E"}`:                                          "aE",
		`{"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "b"}]}`: "b",
		`{"chat_template": [{"name": "tool_use", "template": "x"}]}`:                                       `without an entry named "default"`,
		`{"chat_template": 1}`:         "neither a text nor a list",
		`{"chat_template": "{% x %}"}`: `name:1: statement "x" is not supported`,
		`[`:                            "unexpected end of JSON",
	} {
		m, err := ReadModelTemplate("name", "", []byte(config))
		got := "none"
		switch {
		case err != nil:
			got = err.Error()
		case m != nil:
			if got, err = m.Render(Chat{&jinja.List{}}, false); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", config, got, want)
		}
	}
}

// TestLayoutTargets wants the answers of the layout without an engine, their leading space included.
func TestLayoutTargets(t *testing.T) {
	layout := ChatTemplate{Turns: map[string]string{"user": "User: {{content}}\n\n", "assistant": "Assistant: {{content}}\n\n"}}
	text, targets, err := layout.RenderTargets([]Message{{Role: "user", Content: "q"}, {Role: "assistant", Content: "a"}, {Role: "user", Content: "{{content}}"}})
	if err != nil || len(targets) != 1 || text[targets[0].Start:targets[0].End] != " a\n\n" {
		t.Errorf("%q %v %v", text, targets, err)
	}
}
