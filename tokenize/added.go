package tokenize

// Added is a token that is found in the text before it is cut into pieces.
type Added struct {
	// ID is the token's number.
	ID int32
	// Content is the text that stands for the token.
	Content string
	// Special tokens carry control meaning. They are found in text only on demand.
	Special bool
	// Normalized tokens are looked for after normalisation, the others before.
	Normalized bool
	// SingleWord tokens are found only where no letter, digit or the like adjoins.
	SingleWord bool
	// LStrip and RStrip tokens take the spaces on their left and right with them.
	LStrip, RStrip bool
}

// addedFinder finds added tokens in text: leftmost, then longest. It is a trie over
// bytes; a search costs at most the text's length times the longest token's.
type addedFinder struct {
	nodes    []trieNode
	first    [256]bool // bytes that begin a token
	ordinary bool      // holds a token that is not special
}

type trieNode struct {
	next  map[byte]int32
	token *Added
}

// newAddedFinder returns nil if there is no token to find.
func newAddedFinder(tokens []*Added) *addedFinder {
	if len(tokens) == 0 {
		return nil
	}
	f := &addedFinder{nodes: make([]trieNode, 1)}
	for _, t := range tokens {
		f.first[t.Content[0]] = true
		f.ordinary = f.ordinary || !t.Special
		at := int32(0)
		for i := range len(t.Content) {
			at = f.child(at, t.Content[i])
		}
		f.nodes[at].token = t
	}
	return f
}

func (f *addedFinder) child(at int32, c byte) int32 {
	if next, ok := f.nodes[at].next[c]; ok {
		return next
	}
	if f.nodes[at].next == nil {
		f.nodes[at].next = map[byte]int32{}
	}
	next := int32(len(f.nodes))
	f.nodes[at].next[c] = next
	f.nodes = append(f.nodes, trieNode{})
	return next
}

// find returns the first token in text[from:] and its start, or nil. A special token
// that is not wanted is passed over as a whole: no other token is found inside it
// (as Hugging Face tokenizers does with encode_special_tokens).
func (f *addedFinder) find(text string, from int, special bool) (*Added, int) {
	if f == nil || (!special && !f.ordinary) {
		return nil, 0
	}
	for i := from; i < len(text); i++ {
		if !f.first[text[i]] {
			continue
		}
		t := f.longest(text[i:])
		switch {
		case t == nil:
		case t.Special && !special:
			i += len(t.Content) - 1
		default:
			return t, i
		}
	}
	return nil, 0
}

func (f *addedFinder) longest(text string) (best *Added) {
	at, ok := int32(0), true
	for i := range len(text) {
		if at, ok = f.nodes[at].next[text[i]]; !ok {
			break
		}
		if t := f.nodes[at].token; t != nil {
			best = t
		}
	}
	return best
}
