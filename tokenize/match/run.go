package match

import (
	"sync"
	"unicode/utf8"
)

// search is the state of looking for matches in one text.
type search struct {
	m     *Matcher
	text  string
	stack []frame
	loops []loopState // by instruction

	// Failures that are kept for the whole text once the steps are more than a small
	// multiple of its length.
	steps, budget int
	failed        places
	held          places // look-aheads whose inside accepts
}

// frame is a choice that can be taken back.
type frame struct {
	at    int // instruction
	start int // place where it was reached
	low   int // opLoop: the first place from which the rest may go on
	cur   int // opLoop: the place from which it goes on now; opSplit: 1 after the first branch
	end   int // opLoop: the end of the run
}

// loopState is what is known of one opLoop: the last run of its class that was measured,
// and a stretch of places from which the rest of the program is known to fail.
type loopState struct{ runFrom, runTo, failFrom, failTo int }

var searches = sync.Pool{New: func() any { return new(search) }}

// stepsPerByte is how many steps a text may take for each byte before failures are
// remembered place by place. The patterns of real tokenizers stay below it.
const stepsPerByte, stepsFree = 16, 4096

func (m *Matcher) search(text string) *search {
	s := searches.Get().(*search)
	s.m, s.text, s.stack = m, text, s.stack[:0]
	s.steps, s.budget = 0, stepsFree+stepsPerByte*len(text)
	s.failed, s.held = nil, nil
	if cap(s.loops) < len(m.program) {
		s.loops = make([]loopState, len(m.program))
	}
	s.loops = s.loops[:len(m.program)]
	for i := range s.loops {
		s.loops[i] = loopState{failFrom: 1}
	}
	return s
}

func (s *search) release() {
	s.m, s.text, s.failed, s.held = nil, "", nil, nil
	searches.Put(s)
}

// All calls yield with the start and end of each match from left to right, as Oniguruma's
// find_iter finds them: the next one is looked for from the end of the last, and no empty
// match follows a match at its end. It stops when yield returns false.
func (m *Matcher) All(text string, yield func(start, end int) bool) {
	s := m.search(text)
	defer s.release()
	for from, last := 0, -1; from <= len(text); {
		start, end, ok := s.next(from)
		if !ok {
			return
		}
		if start == end && end == last {
			from = s.after(from)
			continue
		}
		from, last = end, end
		if !yield(start, end) {
			return
		}
	}
}

// after returns the place after the character at from.
func (s *search) after(from int) int {
	if from >= len(s.text) {
		return from + 1
	}
	_, n := utf8.DecodeRuneInString(s.text[from:])
	return from + n
}

// next returns the first match that begins at from or later.
func (s *search) next(from int) (start, end int, ok bool) {
	for first := s.m.first; from <= len(s.text); {
		if first != nil && (from == len(s.text) || first.At(s.text, from) == 0) {
			from = s.after(from)
			continue
		}
		if end, ok := s.run(0, from); ok {
			return from, end, true
		}
		from = s.after(from)
	}
	return 0, 0, false
}

// run runs the program from instruction at and place i to an opAccept, and returns the
// place there.
func (s *search) run(at, i int) (int, bool) {
	base := len(s.stack)
	for {
		in := &s.m.program[at]
		s.steps++
		ok := true
		switch in.op {
		case opClass:
			n := 0
			if i < len(s.text) {
				n = in.class.At(s.text, i)
			}
			i, ok = i+n, n > 0
			at++
		case opLoop:
			i, ok = s.loop(at, in, i)
			at++
		case opSplit:
			if ok = !s.failed.has(in.memo, i); ok {
				s.stack = append(s.stack, frame{at: at, start: i})
			}
			at = in.next
		case opJump:
			at = in.next
		case opLook:
			ok = s.look(in, i) != in.negative
			at = in.other
		case opAccept:
			s.stack = s.stack[:base]
			return i, true
		default:
			ok = s.asserts(in.op, i)
			at++
		}
		if ok {
			continue
		}
		if at, i, ok = s.backtrack(base); !ok {
			return 0, false
		}
	}
}

func (s *search) asserts(o op, i int) bool {
	switch o {
	case opLineStart:
		return i == 0 || s.text[i-1] == '\n' && i < len(s.text)
	case opLineEnd:
		return i == len(s.text) || s.text[i] == '\n'
	case opTextStart:
		return i == 0
	}
	return i == len(s.text)
}

// loop takes as many characters as there are and leaves a frame for fewer.
func (s *search) loop(at int, in *instruction, i int) (int, bool) {
	if s.failed.has(in.memo, i) {
		return 0, false
	}
	low := i
	for range in.min {
		n := 0
		if low < len(s.text) {
			n = in.class.At(s.text, low)
		}
		if s.steps++; n == 0 {
			return 0, false
		}
		low += n
	}
	end := s.measure(at, in, low)
	if end == low {
		return end, true
	}
	if in.possessive {
		low = end
	}
	cur := s.untried(at, low, end)
	if cur < 0 {
		return 0, false
	}
	s.stack = append(s.stack, frame{at, i, low, cur, end})
	return cur, true
}

// untried returns the last place from low to cur from which the rest of the program is not
// known to fail after the loop at at, or −1.
func (s *search) untried(at, low, cur int) int {
	if known := &s.loops[at]; known.failFrom <= cur && cur <= known.failTo {
		if cur = known.failFrom; cur <= low {
			return -1
		}
		_, n := utf8.DecodeLastRuneInString(s.text[:cur])
		cur -= n
	}
	return cur
}

// measure returns the end of the run of the class that goes on at i.
func (s *search) measure(at int, in *instruction, i int) int {
	known := &s.loops[at]
	if in.max >= 0 {
		for k := in.min; k < in.max && i < len(s.text); k++ {
			n := in.class.At(s.text, i)
			if s.steps++; n == 0 {
				break
			}
			i += n
		}
		return i
	}
	if known.runFrom <= i && i < known.runTo {
		return known.runTo
	}
	end := i
	for end < len(s.text) {
		n := in.class.At(s.text, end)
		if s.steps++; n == 0 {
			break
		}
		if end += n; end == known.runFrom {
			end = known.runTo
			break
		}
	}
	known.runFrom, known.runTo = i, end
	return end
}

// backtrack goes back to the last choice above base that has something left.
func (s *search) backtrack(base int) (at, i int, ok bool) {
	for len(s.stack) > base {
		f := &s.stack[len(s.stack)-1]
		in := &s.m.program[f.at]
		s.steps++
		if in.op == opLoop && f.cur > f.low {
			_, n := utf8.DecodeLastRuneInString(s.text[:f.cur])
			if cur := s.untried(f.at, f.low, f.cur-n); cur >= 0 {
				f.cur = cur
				return f.at + 1, cur, true
			}
		}
		if in.op == opSplit && f.cur == 0 {
			f.cur = 1
			return in.other, f.start, true
		}
		s.giveUp(*f, in)
		s.stack = s.stack[:len(s.stack)-1]
	}
	return 0, 0, false
}

// giveUp remembers that nothing came of a choice.
func (s *search) giveUp(f frame, in *instruction) {
	end := f.start
	if in.op == opLoop && in.max < 0 {
		end = f.end - 1
		if known := &s.loops[f.at]; f.low <= known.failFrom && known.failFrom <= f.end+1 {
			known.failFrom, known.failTo = f.low, max(known.failTo, f.end)
		} else if f.low < known.failFrom || f.end > known.failTo {
			known.failFrom, known.failTo = f.low, f.end
		}
	}
	if s.steps < s.budget {
		return
	}
	// A loop that begins later in the run goes on at fewer places, all of them tried. They
	// are marked to the end of the run, so the first that is marked ends the work.
	for i := f.start; i <= end && !s.failed.has(in.memo, i); i++ {
		s.failed.set(s, in.memo, i)
		s.steps++
	}
}

// places holds a bit for each place of the text, by memo number, once it is needed.
type places [][]uint64

func (p *places) set(s *search, memo, i int) {
	if *p == nil {
		*p = make(places, s.m.memos)
	}
	if (*p)[memo] == nil {
		(*p)[memo] = make([]uint64, len(s.text)/64+1)
	}
	(*p)[memo][i/64] |= 1 << (i % 64)
}

func (p places) has(memo, i int) bool {
	return p != nil && p[memo] != nil && p[memo][i/64]>>(i%64)&1 != 0
}

// look tells whether the inside of a look-ahead accepts at i.
func (s *search) look(in *instruction, i int) bool {
	if s.failed.has(in.memo, i) {
		return false
	}
	if s.held.has(in.memo, i) {
		return true
	}
	_, ok := s.run(in.next, i)
	if s.steps < s.budget {
		return ok
	}
	if ok {
		s.held.set(s, in.memo, i)
	} else {
		s.failed.set(s, in.memo, i)
	}
	return ok
}
