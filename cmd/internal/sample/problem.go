package sample

import "strconv"

// The slots of a problem's scene. Texts and numbers have separate ranges of values.
const (
	slotPerson   = iota // P
	slotFull            // PF
	slotHe              // he
	slotHis             // his
	slotHim             // him
	slotThings          // O, with adjective
	slotPlain           // o
	slotOne             // one
	slotHome            // L
	slotHolder          // C
	slotHolders         // Cs
	slotUnit            // u
	slotPart            // part
	slotCalc            // calc
	slotCalc2           // calc2
	slotCalc3           // calc3
	slotMoney           // money
	slotA               // a, a number
	slotB               // b
	slotC               // c
	slotR               // r
	slotsOfScene        // how many there are
)

// slotNames are the names that patterns call the slots by, in the order of the constants.
func slotNames() []string {
	return []string{"P", "PF", "he", "his", "him", "O", "o", "one", "L", "C", "Cs", "u", "part",
		"calc", "calc2", "calc3", "money", "a", "b", "c", "r"}
}

// stepKind is what happens in one step of a problem.
type stepKind uint8

const (
	stepMul stepKind = iota
	stepSum
	stepAdd
	stepSub
	stepTimes
	stepPart
	stepPercent
	stepPrice
	stepSpend
	stepEarn
	stepShare
	stepPack
	stepKinds
)

func stepNames() []string {
	return []string{"mul", "sum", "add", "sub", "times", "part", "percent", "price", "spend", "earn", "share", "pack"}
}

// twoCalculations reports whether a step's solution has two calculations.
func (k stepKind) twoCalculations() bool { return k == stepTimes || k == stepPart || k == stepPercent }

// step is one step of a problem. Its operand k must divide what there is before it, if
// the step divides.
type step struct {
	kind stepKind
	k    int
}

// divisor is what the number before the step must be a multiple of.
func (s step) divisor() int {
	switch s.kind {
	case stepPart, stepShare, stepPack:
		return s.k
	case stepPercent:
		return 100 / gcd(s.k, 100)
	}
	return 1
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// problemMaker makes word problems with their solutions.
type problemMaker struct {
	g                    *grammar
	ask, tell            [stepKinds][]pattern
	opener, distract     []pattern
	endThings, endMoney  []pattern
	endShare, endPack    []pattern
	closing              []pattern
	scene                scene
	steps                []step
	question, answer     []byte
	result               int
	compact, times       bool // how this problem writes calculations
	dollars              bool // the number at hand is money
	personLists          [2][]pattern
	families, looks      []pattern
	things, thingsPlural []pattern
	holders, holdersMany []pattern
	places               []pattern
}

func newProblemMaker(g *grammar) *problemMaker {
	m := &problemMaker{g: g,
		opener: g.list("opener.q"), distract: g.list("distract.q"), closing: g.list("close.a"),
		endThings: g.list("things.ask"), endMoney: g.list("money.ask"),
		endShare: g.list("share.ask"), endPack: g.list("pack.ask"),
		personLists: [2][]pattern{g.list("first_f"), g.list("first_m")}, families: g.list("family"),
		looks: g.list("kind_of_thing"), things: g.list("thing"), thingsPlural: g.list("things"),
		holders: g.list("holder"), holdersMany: g.list("holders"), places: g.list("place_name"),
	}
	for i, name := range stepNames() {
		m.ask[i], m.tell[i] = g.list(name+".q"), g.list(name+".a")
	}
	m.scene.text = make([][]byte, slotsOfScene)
	m.scene.numbers = make([]int, slotsOfScene)
	return m
}

// make writes the problem that r draws into m.question, m.answer and m.result.
func (m *problemMaker) make(r *rng) {
	m.cast(r)
	m.plan(r)
	m.question, m.answer = m.question[:0], m.answer[:0]
	distractor := r.below(3 * len(m.steps)) // after which sentence, if there are so many
	if r.below(5) < 3 {
		m.sentence(m.opener, r)
	}
	m.dollars = false
	x := 0
	for i, s := range m.steps {
		next := 1
		if i+1 < len(m.steps) {
			next = m.steps[i+1].divisor()
		}
		x = m.step(s, x, next, r)
		if i == distractor {
			m.sentence(m.distract, r)
		}
	}
	m.finish(x, r)
}

// set fills a text slot from a list.
func (m *problemMaker) set(slot int, list []pattern, r *rng) {
	m.scene.text[slot] = m.g.one(m.scene.text[slot][:0], list, r, &m.scene)
}

// cast chooses persons, things and style.
func (m *problemMaker) cast(r *rng) {
	sex := r.below(2)
	m.set(slotPerson, m.personLists[sex], r)
	m.set(slotFull, m.families, r)
	family := m.scene.text[slotFull]
	m.scene.text[slotFull] = append(append(append([]byte(nil), m.scene.text[slotPerson]...), ' '), family...)
	pronouns := [2][3]string{{"she", "her", "her"}, {"he", "his", "him"}}[sex]
	for i, slot := range [...]int{slotHe, slotHis, slotHim} {
		m.scene.text[slot] = append(m.scene.text[slot][:0], pronouns[i]...)
	}
	thing, holder := r.below(len(m.things)), r.below(len(m.holders))
	fixed := func(slot int, p pattern) {
		m.scene.text[slot] = m.g.render(m.scene.text[slot][:0], p, r, &m.scene)
	}
	fixed(slotOne, m.things[thing])
	fixed(slotPlain, m.thingsPlural[thing])
	fixed(slotHolder, m.holders[holder])
	fixed(slotHolders, m.holdersMany[holder])
	m.set(slotThings, m.looks, r)
	m.scene.text[slotThings] = append(append(m.scene.text[slotThings], ' '), m.scene.text[slotPlain]...)
	m.set(slotHome, m.places, r)
	m.scene.text[slotUnit] = append(m.scene.text[slotUnit][:0], m.scene.text[slotThings]...)
	m.compact, m.times = r.below(3) == 0, r.below(3) == 0
}

// plan chooses the steps: 2 to 6 calculations.
func (m *problemMaker) plan(r *rng) {
	left := 1 + min(r.below(5), r.below(6))
	m.steps = append(m.steps[:0], step{kind: stepKind(r.below(2))})
	var tail [4]step
	n := 0
	end := func(kind stepKind, k int) { tail[n] = step{kind, k}; n++ }
	switch pick := r.below(8); {
	case pick < 2: // things
	case pick == 2:
		end(stepPack, r.between(4, 24))
	case pick == 3:
		end(stepShare, r.between(3, 12))
	default:
		end(stepPrice, 0)
		for range min(r.below(3), left-1) {
			end(stepSpend+stepKind(r.below(2)), 0)
		}
		if pick == 7 && n < left {
			end(stepShare, r.between(3, 12))
		}
	}
	m.fill(left-n, r)
	m.steps = append(m.steps, tail[:n]...)
}

// fill adds steps with so many calculations to the first one. A step that divides must
// come after one whose operand can be fitted.
func (m *problemMaker) fill(left int, r *rng) {
	times := false
	for left > 0 {
		prev := m.steps[len(m.steps)-1].kind
		if left >= 3 && r.below(5) < 3 && !prev.twoCalculations() {
			s := [...]step{{stepTimes, r.between(2, 4)}, {stepPart, r.between(2, 5)},
				{stepPercent, 5 * r.between(1, 16)}}[r.below(3)]
			if s.kind != stepTimes || !times {
				times = times || s.kind == stepTimes
				m.steps = append(m.steps, s)
				left -= 2
			}
		}
		m.steps = append(m.steps, step{kind: stepAdd + stepKind(r.below(2))})
		left--
	}
}

// step tells one step and its solution, and returns what there is after it: a multiple
// of next.
func (m *problemMaker) step(s step, x, next int, r *rng) int {
	a, b, result := m.numbers(&s, x, next, r)
	n := m.scene.numbers
	n[slotA], n[slotB], n[slotC], n[slotR] = a, b, max(b-1, 0), result
	if s.kind == stepPrice {
		m.dollars = true
		m.scene.text[slotUnit] = append(m.scene.text[slotUnit][:0], "dollars"...)
	}
	m.calculate(s, a, b, result)
	m.sentence(m.ask[s.kind], r)
	m.answer = append(m.g.one(m.answer, m.tell[s.kind], r, &m.scene), '\n')
	return result
}

// numbers fits a step's operands.
func (m *problemMaker) numbers(s *step, x, next int, r *rng) (a, b, result int) {
	switch s.kind {
	case stepMul:
		a = r.between(6, 96)
		b = multiple(r, 11, 98, next/gcd(a, next))
		return a, b, a * b
	case stepSum:
		a = r.between(101, 989)
		b = fit(r, 102, 989, a, next)
		return a, b, a + b
	case stepSub, stepSpend:
		if x >= 60 {
			b = x - multiple(r, x/4+1, x-11, next)
			return x, b, x - b
		}
		s.kind = map[stepKind]stepKind{stepSub: stepAdd, stepSpend: stepEarn}[s.kind]
		fallthrough
	case stepAdd, stepEarn:
		b = fit(r, 21, 489, x, next)
		return x, b, x + b
	case stepTimes:
		return x, s.k, x * (s.k + 1)
	case stepPart:
		return x, s.k, x - x/s.k
	case stepPercent:
		return x, s.k, x - x*s.k/100
	case stepPrice:
		b = multiple(r, 2, 34, next/gcd(x, next))
		return x, b, x * b
	}
	return x, s.k, x / s.k // share, pack
}

// multiple draws a multiple of m from low to high, or the least one above low if there
// is none.
func multiple(r *rng, low, high, m int) int {
	first := (low + m - 1) / m
	return m * r.between(first, max(first, high/m))
}

// fit draws b from about low to high so that x+b is a multiple of m.
func fit(r *rng, low, high, x, m int) int { return multiple(r, x+low, x+high, m) - x }

// calculate fills the slots of the calculations.
func (m *problemMaker) calculate(s step, a, b, result int) {
	sum := formula{op: '+'}
	difference := formula{op: '-'}
	switch s.kind {
	case stepMul:
		m.calc(slotCalc, formula{op: '*'}, a, b, result)
	case stepSum, stepAdd:
		m.calc(slotCalc, sum, a, b, result)
	case stepSub:
		m.calc(slotCalc, difference, a, b, result)
	case stepTimes:
		m.calc(slotCalc, formula{op: '*'}, a, b, a*b)
		m.calc(slotCalc2, sum, a, a*b, result)
	case stepPart:
		m.scene.text[slotPart] = append(m.scene.text[slotPart][:0],
			[...]string{"half", "a third", "a quarter", "a fifth"}[b-2]...)
		m.calc(slotCalc, formula{op: '/'}, a, b, a/b)
		m.calc(slotCalc2, difference, a, a/b, result)
	case stepPercent:
		m.percent(a, b)
		m.calc(slotCalc2, difference, a, a*b/100, result)
	case stepPrice:
		m.calc(slotMoney, formula{'*', "", "$", "$"}, a, b, result)
	case stepSpend:
		m.calc(slotMoney, formula{'-', "$", "$", "$"}, a, b, result)
	case stepEarn:
		m.calc(slotMoney, formula{'+', "$", "$", "$"}, a, b, result)
	case stepShare, stepPack:
		m.calc(slotCalc, formula{op: '/'}, a, b, result)
	}
}

// formula is an operator with the signs before the operands and the result.
type formula struct {
	op             byte
	left, right, c string
}

// calc writes "a * b = <<a*b=c>>c" into a slot.
func (m *problemMaker) calc(slot int, f formula, a, b, c int) {
	shown := string(f.op)
	if f.op == '*' && m.times {
		shown = "x"
	}
	equal := "="
	if !m.compact || shown == "x" {
		shown, equal = " "+shown+" ", " = "
	}
	d := append(m.scene.text[slot][:0], f.left...)
	d = append(strconv.AppendInt(d, int64(a), 10), shown...)
	d = append(strconv.AppendInt(append(d, f.right...), int64(b), 10), equal...)
	d = strconv.AppendInt(append(append(d, f.c...), "<<"...), int64(a), 10)
	d = strconv.AppendInt(append(d, f.op), int64(b), 10)
	m.scene.text[slot] = appendResult(d, c)
}

// percent writes "a * b/100 = <<a*b/100=c>>c".
func (m *problemMaker) percent(a, b int) {
	d := strconv.AppendInt(m.scene.text[slotCalc3][:0], int64(a), 10)
	d = strconv.AppendInt(append(d, " * "...), int64(b), 10)
	d = strconv.AppendInt(append(d, "/100 = <<"...), int64(a), 10)
	d = strconv.AppendInt(append(d, '*'), int64(b), 10)
	m.scene.text[slotCalc3] = appendResult(append(d, "/100"...), a*b/100)
}

func appendResult(d []byte, c int) []byte {
	d = strconv.AppendInt(append(d, '='), int64(c), 10)
	return strconv.AppendInt(append(d, ">>"...), int64(c), 10)
}

// sentence adds a sentence to the question.
func (m *problemMaker) sentence(list []pattern, r *rng) {
	if len(m.question) > 0 {
		m.question = append(m.question, ' ')
	}
	m.question = m.g.one(m.question, list, r, &m.scene)
}

// finish asks the question and ends the solution.
func (m *problemMaker) finish(x int, r *rng) {
	last := m.steps[len(m.steps)-1].kind
	list := m.endThings
	switch {
	case last == stepShare:
		list = m.endShare
	case last == stepPack:
		list = m.endPack
		m.scene.text[slotUnit] = append(m.scene.text[slotUnit][:0], m.scene.text[slotHolders]...)
	case m.dollars:
		list = m.endMoney
	}
	m.sentence(list, r)
	m.scene.numbers[slotR] = x
	if r.below(3) == 0 {
		m.answer = append(m.g.one(m.answer, m.closing, r, &m.scene), '\n')
	}
	m.answer = strconv.AppendInt(append(m.answer, "#### "...), int64(x), 10)
	m.result = x
}
