package stages

import (
	"context"

	"bzdata/pipeline"
	"bzdata/stages/quality"
)

// Normalize is the configuration of the normalize stage.
type Normalize struct {
	NFC            bool `yaml:"nfc" doc:"Compose characters to Unicode normalisation form C."`
	LineEndings    bool `yaml:"line_endings" doc:"Write every line end as one newline."`
	Controls       bool `yaml:"controls" doc:"Remove control characters but newline and tab."`
	ZeroWidth      bool `yaml:"zero_width" doc:"Remove invisible characters, such as byte order marks and zero-width spaces."`
	Spaces         bool `yaml:"spaces" doc:"Write no-break and other Unicode spaces as plain spaces."`
	TrailingSpaces bool `yaml:"trailing_spaces" doc:"Remove spaces and tabs at the ends of lines."`
	BlankLines     bool `yaml:"blank_lines" doc:"Cut runs of blank lines to one blank line."`
	Trim           bool `yaml:"trim" doc:"Remove white space at both ends of the text."`
}

func normalizeSpec() pipeline.Spec[Normalize] {
	return pipeline.Spec[Normalize]{
		Name: "normalize", Version: 1,
		Summary: "Cleans up characters, spaces and line ends.",
		Doc: `
Edits the text of a document, or of each message, so that copies which differ only in invisible
ways become equal. Nothing is dropped. Every kind of edit is counted in the report. Bytes that are
not UTF-8 become U+FFFD.`,
		Example: `
normalize:
  nfc: true
  blank_lines: true`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: Normalize(quality.NormalizeAll()),
		New:     func(c Normalize) (pipeline.Program, error) { return c.program(), nil },
	}
}

func (c Normalize) program() pipeline.Program {
	open := func(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
		n := &normalizer{options: quality.NormalizeOptions(c)}
		return n, nil
	}
	return pipeline.Program{Passes: []pipeline.Pass{{Edits: true, Open: open}}}
}

type normalizer struct {
	options quality.NormalizeOptions
	buf     []byte
}

// Map edits one document.
func (n *normalizer) Map(d *pipeline.Doc, out *pipeline.Out) error {
	if d.Messages == nil {
		text, changed := n.edit(d.Text, out)
		if changed {
			d.SetText(text)
		}
		return nil
	}
	any := false
	for i := range d.Messages {
		text, changed := n.edit(d.Messages[i].Content, out)
		any = any || changed
		d.Messages[i].Content = text
	}
	if any {
		return d.SetMessages(d.Messages)
	}
	return nil
}

func (n *normalizer) edit(text string, out *pipeline.Out) (string, bool) {
	edited, edits := quality.Normalize(n.buf[:0], []byte(text), n.options)
	if string(edited) == text {
		return text, false
	}
	out.Edit("invalid_bytes", int64(edits.InvalidBytes))
	out.Edit("composed", int64(edits.Composed))
	out.Edit("line_endings", int64(edits.LineEndings))
	out.Edit("controls", int64(edits.Controls))
	out.Edit("zero_width", int64(edits.ZeroWidth))
	out.Edit("spaces", int64(edits.Spaces))
	out.Edit("trailing_spaces", int64(edits.TrailingSpaces))
	out.Edit("blank_lines", int64(edits.BlankLines))
	out.Edit("trimmed", int64(edits.Trimmed))
	out.Edit("documents", 1)
	return string(edited), true
}

// comparer brings texts into the form in which stages compare text of different origin:
// with every edit of normalize, so that it does not matter which of them a plan has made.
type comparer struct{ in, out []byte }

// normal returns a text in that form, valid until the next call.
func (c *comparer) normal(text string) []byte {
	c.in = append(c.in[:0], text...)
	normal, edits := quality.Normalize(c.out, c.in, quality.NormalizeAll())
	if edits.Changed() {
		c.out = normal[:0]
	}
	return normal
}
