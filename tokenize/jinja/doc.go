// Package jinja renders chat templates: the part of Jinja2 that the templates of published
// models use, as transformers sets it up (trim_blocks and lstrip_blocks on, loop controls,
// generation blocks, an immutable sandbox).
//
// It is a package of its own since it is a language of its own, with a lexer, a grammar and
// Python's values, and knows nothing of tokens: a caller gives it JSON values and gets text.
//
// Supported are
//
//   - for with unpacking, if, else, break and continue; if, elif, else; set, also of an
//     attribute of a namespace and of a block; macro; generation; comments; all four ways
//     of whitespace control;
//   - loop.first, last, index, index0, revindex, revindex0, length, previtem, nextitem, cycle;
//   - literals, names, attributes, subscripts, slices, calls with keywords, inline if, and, or,
//     not, in, not in, comparisons, + - * / // % ~, tests with is, filters;
//   - the filters, tests, methods and functions in the tables of filter.go, test.go,
//     method.go and expr.go.
//
// Anything else is an [Error] that names the construct and its line, such as include, call or
// strftime_now, whose date would make the same data come out differently every day. What
// Python's own errors would stop is an error, too.
//
// Rendering is bounded: the text, each string and each list by [Limits], and the steps taken.
package jinja
