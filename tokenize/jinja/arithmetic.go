package jinja

import (
	"math"
	"math/bits"
	"strings"
)

func (e signExpr) eval(s *state) any {
	v := e.of.eval(s)
	s.line = e.line
	i, f, isFloat, ok := number(v)
	if !ok {
		s.mustBeDefined(v)
		s.fail("%s of a %s is not supported", e.op, typeName(v))
	}
	switch {
	case e.op == "+" && isFloat:
		return f
	case e.op == "+":
		return i
	case isFloat:
		return -f
	}
	return s.integers("-", 0, i)
}

func (e binaryExpr) eval(s *state) any {
	a := e.left.eval(s)
	b := e.right.eval(s)
	s.step(0)
	s.line = e.line
	if e.op == "~" {
		return s.made(s.text(a) + s.text(b))
	}
	s.mustBeDefined(a)
	s.mustBeDefined(b)
	ai, af, aIsFloat, aOK := number(a)
	bi, bf, bIsFloat, bOK := number(b)
	switch {
	case aOK && bOK && !aIsFloat && !bIsFloat && e.op != "/":
		return s.integers(e.op, ai, bi)
	case aOK && bOK:
		return s.floats(e.op, af, bf)
	case e.op == "+":
		if out := s.join(a, b); out != nil {
			return out
		}
	case e.op == "*" && bOK && !bIsFloat:
		if out := s.repeat(a, bi); out != nil {
			return out
		}
	case e.op == "*" && aOK && !aIsFloat:
		if out := s.repeat(b, ai); out != nil {
			return out
		}
	}
	s.fail("%s of %s and %s is not supported", e.op, typeName(a), typeName(b))
	return nil
}

// join is a + b of two strings or lists, or nil.
func (s *state) join(a, b any) any {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			s.limit(len(a)+len(b), 0)
			return s.made(a + b)
		}
	case *List:
		if b, ok := b.(*List); ok && a.Tuple == b.Tuple {
			out := s.list(append(a.Items[:len(a.Items):len(a.Items)], b.Items...))
			out.Tuple = a.Tuple
			return out
		}
	}
	return nil
}

// repeat is v * n of a string or list, or nil.
func (s *state) repeat(v any, n int64) any {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		if len(v) > 0 && n > int64(s.limits.TextBytes/len(v)) {
			s.limit(math.MaxInt, 0)
		}
		if v == "" {
			return v
		}
		return s.made(strings.Repeat(v, int(n)))
	case *List:
		if len(v.Items) > 0 && n > int64(itemsMax/len(v.Items)) {
			s.fail("a list becomes longer than %d items", itemsMax)
		}
		var items []any
		for range n {
			if len(v.Items) == 0 {
				break
			}
			items = append(items, v.Items...)
		}
		out := s.list(items)
		out.Tuple = v.Tuple
		return out
	}
	return nil
}

// integers is a op b. A result beyond 64 bits is an error.
func (s *state) integers(op string, a, b int64) any {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		hi, lo := bits.Mul64(magnitude(a), magnitude(b))
		if hi == 0 && lo <= math.MaxInt64 {
			return a * b
		}
	case "//", "%":
		if b == 0 {
			s.fail("division by zero")
		}
		if b == -1 {
			if op == "%" {
				return int64(0)
			}
			return s.integers("-", 0, a)
		}
		quotient, rest := a/b, a%b
		if rest != 0 && (rest < 0) != (b < 0) { // Python rounds down
			quotient, rest = quotient-1, rest+b
		}
		if op == "%" {
			return rest
		}
		return quotient
	}
	s.fail("%d %s %d is beyond 64 bits", a, op, b)
	return nil
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

func (s *state) floats(op string, a, b float64) any {
	if b == 0 && strings.Contains("/ // %", op) {
		s.fail("division by zero")
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	}
	rest := math.Mod(a, b)
	if rest != 0 && (rest < 0) != (b < 0) {
		rest += b
	}
	if op == "%" {
		return rest
	}
	return math.Floor((a-rest)/b + 0.5)
}
