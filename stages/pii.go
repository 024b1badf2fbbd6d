package stages

import (
	"context"
	"maps"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/stages/quality"
)

// PII is the configuration of the pii stage.
type PII struct {
	Replace      []string            `yaml:"replace" required:"true" enum:"email|ipv4|ipv6|phone|credit_card|iban" doc:"Kinds of personal data that are replaced."`
	Addresses    string              `yaml:"addresses" enum:"public|all" doc:"Which IP addresses: public ones, or private, reserved and documentation addresses, too."`
	Placeholders map[string][]string `yaml:"placeholders" doc:"By kind, the texts that stand in for it. Of several, one is chosen by a seeded hash of document and place."`
}

// piiPlaceholders stand in where the plan names none: addresses and numbers that are reserved
// for examples (RFC 2606, RFC 5737, RFC 3849, NANP 555-0100), or that cannot be valid.
var piiPlaceholders = map[string]string{
	"email": "email@example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "phone": "202-555-0100",
	"credit_card": "0000 0000 0000 0000", "iban": "XX00 0000 0000 0000",
}

func piiSpec() pipeline.Spec[PII] {
	return pipeline.Spec[PII]{
		Name: "pii", Version: 3,
		Summary: "Replaces e-mail addresses, IP addresses, phone, card and account numbers.",
		Doc: code(`
Every replacement is counted by kind in the report. What is found: e-mail addresses in ASCII; IP
addresses, by default those of the public space; phone numbers that start with + (E.164), or North
American ones with separators, also behind a 1, such as 1-800-555-1234 or 1 (415) 555-2671; card numbers of
known issuers with the right check digit; IBANs with the length of their country and right check digits.
Nothing is replaced inside a longer word or number, and text that is one of the placeholders stays, so
that a second pass changes nothing.

FineWeb replaced e-mail and public IPv4 addresses (datatrove's PIIFormatter, which is ‹replace: [email,
ipv4]›). Unlike that, capital letters are found in addresses, version numbers such as 1.2.3.4.5 are no
IP addresses, and of several placeholders each is chosen by the plan's seed, not in turn. Phone, card
and account numbers are off by default: in tables and sums there are numbers that look like them.`),
		Example: `
pii:
  replace: [email, ipv4, ipv6, phone]
  placeholders: {email: [email@example.com, firstname.lastname@example.org]}`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: PII{Replace: []string{"email", "ipv4", "ipv6"}, Addresses: "public"},
		New:     func(c PII) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check reports placeholders of no kind, and kinds without any.
func (c *PII) Check(at *pipeline.Fields) {
	known := slices.Sorted(maps.Keys(piiPlaceholders))
	for _, kind := range slices.Sorted(maps.Keys(c.Placeholders)) {
		if piiPlaceholders[kind] == "" {
			at.Unknown("placeholders", kind, known)
		} else if len(c.Placeholders[kind]) == 0 {
			at.Errorf("placeholders", "%s has none; leave it out, or name one", kind)
		}
	}
}

func (c PII) program() pipeline.Program {
	open := func(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
		r := &piiReplacer{task: t, find: quality.PII{PublicOnly: c.Addresses == "public"}}
		for kind, name := range quality.PIIKinds {
			r.find.Kinds[kind] = slices.Contains(c.Replace, name)
			if r.with[kind] = c.Placeholders[name]; len(r.with[kind]) == 0 {
				r.with[kind] = []string{piiPlaceholders[name]}
			}
		}
		return r, nil
	}
	return pipeline.Program{Passes: []pipeline.Pass{{Edits: true, Open: open}}}
}

// piiReplacer replaces personal data in documents.
type piiReplacer struct {
	task    *pipeline.Task
	find    quality.PII
	with    [len(quality.PIIKinds)][]string
	matches []quality.PIIMatch
	buf     []byte
}

// Map edits one document.
func (r *piiReplacer) Map(d *pipeline.Doc, out *pipeline.Out) error {
	n := uint64(0) // of the replacement in the document
	if d.Messages == nil {
		if text, changed := r.edit(d, d.Text, &n, out); changed {
			out.Edit("documents", 1)
			d.SetText(text)
		}
		return nil
	}
	any := false
	for i := range d.Messages {
		text, changed := r.edit(d, d.Messages[i].Content, &n, out)
		any = any || changed
		d.Messages[i].Content = text
	}
	if !any {
		return nil
	}
	out.Edit("documents", 1)
	return d.SetMessages(d.Messages)
}

func (r *piiReplacer) edit(d *pipeline.Doc, text string, n *uint64, out *pipeline.Out) (string, bool) {
	r.matches = r.find.Append(r.matches[:0], text)
	edited, end := r.buf[:0], 0
	for _, m := range r.matches {
		with := r.with[m.Kind]
		if isPlaceholder(m.Kind, with, text[m.Start:m.End]) {
			continue
		}
		choice := 0
		if len(with) > 1 {
			choice = int(splitMix(r.task.Choice("placeholder", d)+*n) % uint64(len(with)))
		}
		*n++
		edited = append(append(edited, text[end:m.Start]...), with[choice]...)
		end = m.End
		out.Edit(quality.PIIKinds[m.Kind], 1)
	}
	if end == 0 {
		return text, false
	}
	r.buf = append(edited, text[end:]...)
	return string(r.buf), true
}

// isPlaceholder reports whether what was found is a placeholder. One of a phone number may stand
// behind a 1 of the text, such as the number of a row, and is found with it.
func isPlaceholder(kind quality.PIIKind, with []string, found string) bool {
	if slices.Contains(with, found) {
		return true
	}
	rest, one := strings.CutPrefix(found, "1")
	return kind == quality.Phone && one && slices.Contains(with, strings.TrimLeft(rest, " .-"))
}

// splitMix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func splitMix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
