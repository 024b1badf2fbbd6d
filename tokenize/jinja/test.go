package jinja

// test is one of the tests behind is, with so many arguments.
type test struct {
	args  int
	check func(s *state, v any, args []any) bool
}

func kindTest(holds func(v any) bool) test {
	return test{0, func(_ *state, v any, _ []any) bool { return holds(v) }}
}

func compareTest(op string) test {
	return test{1, func(s *state, v any, args []any) bool { return s.compare(op, v, args[0]) }}
}

func typeTest(names ...string) test {
	return kindTest(func(v any) bool {
		for _, name := range names {
			if typeName(v) == name {
				return true
			}
		}
		return false
	})
}

// rest is a test of what division by n leaves.
func rest(n, want any) func(s *state, v any, args []any) bool {
	return func(s *state, v any, args []any) bool {
		by := n
		if by == nil {
			by = args[0]
		}
		return s.equal(binaryExpr{s.line, "%", constExpr{v}, constExpr{by}}.eval(s), want)
	}
}

var tests = map[string]test{
	"defined":   kindTest(func(v any) bool { return typeName(v) != "Undefined" }),
	"undefined": typeTest("Undefined"),
	"none":      typeTest("NoneType"),
	"string":    typeTest("str", "Markup"),
	"boolean":   typeTest("bool"),
	"integer":   typeTest("int"),
	"float":     typeTest("float"),
	"number":    typeTest("bool", "int", "float"),
	"mapping":   typeTest("dict"),
	"sequence":  typeTest("str", "list", "tuple", "dict", "Undefined"),
	"iterable":  typeTest("str", "list", "tuple", "dict", "Undefined"),
	"callable":  typeTest("function"),
	"true":      kindTest(func(v any) bool { return v == true }),
	"false":     kindTest(func(v any) bool { return v == false }),
	"odd":       {0, rest(int64(2), int64(1))},
	"even":      {0, rest(int64(2), int64(0))},

	"divisibleby": {1, rest(nil, int64(0))},

	"lower": {0, func(s *state, v any, _ []any) bool { return s.isCase(s.text(v), lower) }},
	"upper": {0, func(s *state, v any, _ []any) bool { return s.isCase(s.text(v), upper) }},
	"in":    compareTest("in"),
	"eq":    compareTest("=="), "equalto": compareTest("=="), "==": compareTest("=="),
	"ne": compareTest("!="), "!=": compareTest("!="),
	"lt": compareTest("<"), "lessthan": compareTest("<"),
	"le": compareTest("<="),
	"gt": compareTest(">"), "greaterthan": compareTest(">"),
	"ge": compareTest(">="),
}

// isCase reports whether text has letters, and is as change leaves it.
func (s *state) isCase(text string, change func(string) string) bool {
	s.step(len(text) / 64)
	return change(text) == text && lower(text) != upper(text)
}

func (e testExpr) eval(s *state) any {
	v := e.of.eval(s)
	var args []any
	for _, a := range e.args {
		args = append(args, a.eval(s))
	}
	s.step(0)
	s.line = e.line
	return tests[e.name].check(s, v, args) != e.not
}
