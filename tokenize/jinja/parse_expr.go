package jinja

import (
	"slices"
	"strconv"
)

func isConst(name string) bool {
	return slices.Contains([]string{"true", "True", "false", "False", "none", "None"}, name)
}

// tuple reads one expression, or several with commas between, which are a tuple. Without
// inlineIf, an if ends it, as in a for.
func (p *parser) tuple(inlineIf bool) expr {
	one := p.expression
	if !inlineIf {
		one = p.or
	}
	line := p.peek().line
	first := one()
	if !p.is(tokenOp, ",") {
		return first
	}
	items := []expr{first}
	for p.accept(tokenOp, ",") {
		if p.is(tokenEnd, "") || p.is(tokenOp, ")") || p.is(tokenOp, "=") {
			break
		}
		items = append(items, one())
	}
	return listExpr{line, items, true}
}

func (p *parser) expression() expr {
	defer p.deeper()()
	out := p.or()
	for p.accept(tokenName, "if") {
		cond := condExpr{test: p.or(), then: out}
		if p.accept(tokenName, "else") {
			cond.not = p.expression()
		}
		out = cond
	}
	return out
}

func (p *parser) or() expr {
	left := p.and()
	for p.accept(tokenName, "or") {
		left = orExpr{left, p.and()}
	}
	return left
}

func (p *parser) and() expr {
	left := p.not()
	for p.accept(tokenName, "and") {
		left = andExpr{left, p.not()}
	}
	return left
}

func (p *parser) not() expr {
	if p.accept(tokenName, "not") {
		defer p.deeper()()
		return notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	n := compareExpr{line: p.peek().line, first: p.sum()}
	for {
		op := ""
		t := p.peek()
		switch {
		case t.kind == tokenOp && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text), p.is(tokenName, "in"):
			op = p.next().text
		case p.is(tokenName, "not") && p.tokens[p.at+1].text == "in" && p.tokens[p.at+1].kind == tokenName:
			p.at += 2
			op = "not in"
		case len(n.ops) == 0:
			return n.first
		default:
			return n
		}
		n.ops, n.rest = append(n.ops, op), append(n.rest, p.sum())
	}
}

// chain reads operands of one level of precedence, from the left.
func (p *parser) chain(operand func() expr, ops ...string) expr {
	left := operand()
	for t := p.peek(); t.kind == tokenOp && slices.Contains(ops, t.text); t = p.peek() {
		p.next()
		left = binaryExpr{t.line, t.text, left, operand()}
	}
	return left
}

func (p *parser) sum() expr    { return p.chain(p.concat, "+", "-") }
func (p *parser) concat() expr { return p.chain(p.product, "~") }

func (p *parser) product() expr {
	return p.chain(func() expr { return p.unary(true) }, "*", "/", "//", "%")
}

func (p *parser) unary(filtered bool) expr {
	defer p.deeper()()
	t := p.peek()
	var out expr
	if t.kind == tokenOp && (t.text == "-" || t.text == "+") {
		p.next()
		out = signExpr{t.line, t.text, p.unary(false)}
	} else {
		out = p.primary()
	}
	out = p.postfix(out)
	if filtered {
		out = p.filtered(out)
	}
	if p.is(tokenOp, "**") {
		p.fail("operator ** is not supported")
	}
	return out
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokenName:
		return p.named(t)
	case tokenString:
		for p.is(tokenString, "") {
			t.text += p.next().text
		}
		return constExpr{t.text}
	case tokenInt, tokenFloat:
		return p.literal(t)
	case tokenOp:
		switch t.text {
		case "(":
			return p.paren(t.line)
		case "[":
			return listExpr{t.line, p.items("]"), false}
		case "{":
			return p.dict(t.line)
		}
	}
	p.at--
	if t.kind == tokenEOF {
		p.at++
	}
	p.fail("unexpected %s", t)
	return nil
}

func (p *parser) named(t token) expr {
	switch t.text {
	case "true", "True":
		return constExpr{true}
	case "false", "False":
		return constExpr{false}
	case "none", "None":
		return constExpr{nil}
	}
	return nameExpr{t.line, t.text}
}

func (p *parser) literal(t token) expr {
	if t.kind == tokenInt {
		v, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			p.fail("number %s is too large", t.text)
		}
		return constExpr{v}
	}
	v, err := strconv.ParseFloat(t.text, 64)
	if err != nil {
		p.fail("number %s is too large", t.text)
	}
	return constExpr{v}
}

// paren reads what is in parentheses: () is the empty tuple.
func (p *parser) paren(line int) expr {
	if p.accept(tokenOp, ")") {
		return listExpr{line, nil, true}
	}
	defer p.deeper()()
	out := p.tuple(true)
	p.want(tokenOp, ")")
	return out
}

func (p *parser) items(end string) (out []expr) {
	for !p.accept(tokenOp, end) {
		if len(out) > 0 {
			p.want(tokenOp, ",")
			if p.accept(tokenOp, end) {
				break
			}
		}
		out = append(out, p.expression())
	}
	return out
}

func (p *parser) dict(line int) expr {
	n := dictExpr{line: line}
	for !p.accept(tokenOp, "}") {
		if len(n.keys) > 0 {
			p.want(tokenOp, ",")
			if p.accept(tokenOp, "}") {
				break
			}
		}
		n.keys = append(n.keys, p.expression())
		p.want(tokenOp, ":")
		n.values = append(n.values, p.expression())
	}
	return n
}

// postfix reads attributes, subscripts and calls. A chain of them nests without recursion in
// the parser, so it is counted here.
func (p *parser) postfix(of expr) expr {
	for links := 0; ; links++ {
		t := p.peek()
		if t.kind != tokenOp || links > depthMax {
			if links > depthMax {
				p.fail("nested deeper than %d levels", depthMax)
			}
			return of
		}
		switch t.text {
		case ".":
			p.next()
			if p.is(tokenInt, "") {
				of = itemExpr{t.line, of, p.literal(p.next())}
			} else {
				of = attrExpr{t.line, of, p.want(tokenName, "").text}
			}
		case "[":
			p.next()
			of = p.subscript(t.line, of)
		case "(":
			of = callExpr{t.line, of, p.callArgs()}
		default:
			return of
		}
	}
}

func (p *parser) subscript(line int, of expr) expr {
	if p.is(tokenOp, "]") {
		p.fail("a subscript is empty")
	}
	var parts [3]expr
	colons := 0
	for !p.accept(tokenOp, "]") {
		switch {
		case colons < 2 && p.accept(tokenOp, ":"):
			colons++
		case parts[colons] == nil && !p.is(tokenOp, ","):
			parts[colons] = p.expression()
		default:
			p.fail("unexpected %s in a subscript", p.peek())
		}
	}
	if colons == 0 {
		return itemExpr{line, of, parts[0]}
	}
	return sliceExpr{line, of, parts[0], parts[1], parts[2]}
}

func (p *parser) callArgs() (a callArgs) {
	p.want(tokenOp, "(")
	for first := true; !p.accept(tokenOp, ")"); first = false {
		if !first {
			p.want(tokenOp, ",")
			if p.accept(tokenOp, ")") {
				break
			}
		}
		if p.is(tokenOp, "*") || p.is(tokenOp, "**") {
			p.fail("a call with %s is not supported", p.peek())
		}
		if next := p.tokens[p.at+1]; p.is(tokenName, "") && next.kind == tokenOp && next.text == "=" {
			a.names = append(a.names, p.next().text)
			p.next()
			a.values = append(a.values, p.expression())
			continue
		}
		if len(a.names) > 0 {
			p.fail("an argument without a name behind one that has one")
		}
		a.args = append(a.args, p.expression())
	}
	return a
}

// filtered reads filters and tests behind an expression.
func (p *parser) filtered(of expr) expr {
	for links := 0; ; links++ {
		if links > depthMax {
			p.fail("nested deeper than %d levels", depthMax)
		}
		switch {
		case p.is(tokenOp, "|"):
			of = filterExpr{of, p.filter()}
		case p.is(tokenName, "is"):
			of = p.test(of)
		case p.is(tokenOp, "("):
			line := p.peek().line
			of = callExpr{line, of, p.callArgs()}
		default:
			return of
		}
	}
}

func (p *parser) filter() filterCall {
	p.want(tokenOp, "|")
	t := p.want(tokenName, "")
	if filterNamed(t.text) == nil {
		p.at--
		p.fail("filter %q is not supported", t.text)
	}
	f := filterCall{line: t.line, name: t.text}
	if p.is(tokenOp, "(") {
		f.args = p.callArgs()
	}
	return f
}

func (p *parser) test(of expr) expr {
	p.want(tokenName, "is")
	n := testExpr{line: p.peek().line, of: of, not: p.accept(tokenName, "not")}
	t := p.want(tokenName, "")
	if n.name = t.text; tests[n.name].check == nil {
		p.at--
		p.fail("test %q is not supported", t.text)
	}
	if p.is(tokenOp, "(") {
		args := p.callArgs()
		if len(args.names) > 0 {
			p.fail("a test with a named argument is not supported")
		}
		n.args = args.args
	} else if p.startsArgument() {
		if p.is(tokenName, "is") {
			p.fail("tests cannot be chained with is")
		}
		n.args = []expr{p.postfix(p.primary())}
	}
	if want := tests[n.name].args; len(n.args) != want {
		p.fail("test %q has %d arguments, want %d", n.name, len(n.args), want)
	}
	return n
}

// startsArgument reports whether the next token begins the argument of a test without
// parentheses.
func (p *parser) startsArgument() bool {
	switch t := p.peek(); t.kind {
	case tokenName:
		return !slices.Contains([]string{"else", "or", "and"}, t.text)
	case tokenString, tokenInt, tokenFloat:
		return true
	case tokenOp:
		return t.text == "[" || t.text == "{"
	}
	return false
}
