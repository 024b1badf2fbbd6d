package quality

// Chain is sets of rules and conditions, applied one after another: the sets in their order,
// each to the text as the one before has left it, then the conditions. What several of them
// measure of the same text is measured once. It does not change and may be shared.
type Chain struct {
	Sets  []*Rules
	Drops []*Condition
}

// Edits reports whether applying c may change a text.
func (c *Chain) Edits() bool {
	for _, set := range c.Sets {
		if set.edit != nil {
			return true
		}
	}
	return false
}

// Judge returns the verdict on text and, if it is Keep, the text as the sets have edited it;
// scratch then has what was edited (see [Scratch.Edits]).
func (c *Chain) Judge(text string, scratch *Scratch) (string, Verdict) {
	scratch.Reset(text)
	scratch.edits = [editKinds]int{}
	for _, set := range c.Sets {
		if v := set.judge(scratch); !v.Keep {
			return text, v
		}
		if set.edit == nil {
			continue
		}
		if edited := set.edit(scratch); edited != text {
			text = edited
			scratch.Reset(text)
		}
	}
	for _, drop := range c.Drops {
		if v := drop.Judge(scratch); !v.Keep {
			v.Detail = drop.Values(scratch)
			return text, v
		}
	}
	return text, Verdict{Keep: true}
}

// Edit returns text as the sets edit it, unjudged.
func (c *Chain) Edit(text string, scratch *Scratch) string {
	scratch.edits = [editKinds]int{}
	for _, set := range c.Sets {
		if set.edit != nil {
			scratch.Reset(text)
			text = set.edit(scratch)
		}
	}
	return text
}

// editKind is a kind of edit that is counted.
type editKind int

// The kinds of edits.
const (
	editLongWord editKind = iota
	editNoEndMark
	editFewWords
	editJavascript
	editPolicy
	editCitation
	editUppercase
	editNumeric
	editCounter
	editPhrase
	editKinds
)

// editNames are the names of what is counted, by kind.
var editNames = [editKinds]string{
	"lines_long_word", "lines_no_end_mark", "lines_few_words", "lines_javascript", "lines_policy", "citations",
	"lines_uppercase", "lines_numeric", "lines_counter", "phrases",
}

// Edits visits the kinds of edits that the last [Chain.Judge] or [Chain.Edit] made, with
// their counts: lines removed, by why, and pieces removed inside of lines.
func (s *Scratch) Edits(visit func(kind string, n int)) {
	for kind, n := range s.edits {
		if n > 0 {
			visit(editNames[kind], n)
		}
	}
}
