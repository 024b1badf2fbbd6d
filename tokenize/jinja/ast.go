package jinja

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	name string
	body []node
	// generations says that there is a generation block.
	generations bool
}

// HasGenerations reports whether the template marks what the assistant says, with
// {% generation %}.
func (t *Template) HasGenerations() bool { return t.generations }

// node is a statement or a piece of text.
type node interface{ exec(s *state) }

// expr is an expression.
type expr interface{ eval(s *state) any }

type (
	textNode   struct{ text string }
	outputNode struct {
		line  int
		value expr
	}
	ifNode struct {
		line      int
		test      expr
		then, not []node
	}
	forNode struct {
		line       int
		target     target
		over       expr
		filter     expr // nil for none
		body, none []node
	}
	setNode struct {
		line   int
		target target
		value  expr
	}
	setBlockNode struct {
		line    int
		name    string
		body    []node
		filters []filterCall
	}
	macroNode struct {
		line     int
		name     string
		params   []string
		defaults []expr // of the last parameters
		body     []node
	}
	generationNode struct {
		line int
		body []node
	}
	jumpNode struct{ jump jump }
)

// target is what a set or a for assigns to: one name, several, or an attribute of a namespace.
type target struct {
	names []string
	tuple bool
	attr  string
}

type (
	constExpr struct{ value any }
	nameExpr  struct {
		line int
		name string
	}
	listExpr struct {
		line  int
		items []expr
		tuple bool
	}
	dictExpr struct {
		line         int
		keys, values []expr
	}
	attrExpr struct {
		line int
		of   expr
		name string
	}
	itemExpr struct {
		line  int
		of    expr
		index expr
	}
	sliceExpr struct {
		line             int
		of               expr
		start, end, step expr // nil for none
	}
	callExpr struct {
		line int
		fn   expr
		args callArgs
	}
	filterExpr struct {
		of   expr
		call filterCall
	}
	testExpr struct {
		line int
		of   expr
		name string
		args []expr
		not  bool
	}
	condExpr struct {
		test, then, not expr // not may be nil
	}
	notExpr     struct{ of expr }
	andExpr     struct{ left, right expr }
	orExpr      struct{ left, right expr }
	compareExpr struct {
		line  int
		first expr
		ops   []string
		rest  []expr
	}
	binaryExpr struct {
		line        int
		op          string
		left, right expr
	}
	signExpr struct {
		line int
		op   string
		of   expr
	}
)

// callArgs are the arguments of a call.
type callArgs struct {
	args   []expr
	names  []string // of the keyword arguments
	values []expr
}

type filterCall struct {
	line int
	name string
	args callArgs
}
