// Package sample writes an example to try every part of the program on: a corpus of word
// problems with planted faults and the truth about them, a small base model, expert groups
// and plans. The same options give the same bytes.
//
// # The corpus
//
// All text is composed by a grammar; none is copied from anywhere. The domain is word
// problems for schools with a solution, as fields question and answer, the solution in the
// layout of GSM8K (Cobbe et al. 2021): calculations as <<3*4=12>>, then a last line
// "#### N". Every row has the same fields {id, question, answer, meta}, and the faults
// stand in the same files as the good rows, so that no name gives them away. Of each
// thousand rows, in random order,
//
//	700 clean        problems; no two share 13 words in a row but by rare chance
//	 70 prose        English prose on other topics
//	 50 numbers      prose full of numbers: reports, timetables, statistics
//	 60 exact_copy   the text of an earlier clean row
//	 70 near_copy    an earlier clean row with 1 to 8 % of its words replaced, deleted, inserted
//	 27 boilerplate  menus and notices, shorter than 200 characters
//	  3 malformed    cut JSON, a bad escape, bytes that are not UTF-8, a field left out
//	 20 leak         a held-out problem as it is, or 13 and more words of one in other prose
//
// The first 16 rows are clean, for copies to refer to.
//
// # Files
//
//	data/problems-NNNNN.jsonl …   the rows; the last three files end in .jsonl.gz,
//	                              .jsonl.zst and .parquet
//	data/heldout.jsonl            held-out problems, in no training row but the leaks
//	reference/reference.jsonl     more problems, as reference of the domain
//	truth.jsonl                   what every row is, one [Truth] a line, in the order of rows
//	base/                         tokenizer.json, config.json, model.safetensors
//	expert_groups/NAME/           two groups of the base model's experts
//	plan.yaml, data.yaml          plans
//	README.txt
//
// Memory does not grow with the number of documents: a copy's original is made again from
// its number.
package sample
