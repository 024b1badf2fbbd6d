package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"bzdata/dedup"
	"bzdata/tokenize/words"
)

func (m *maker) cleanRows() []row {
	rows := make([]row, len(m.clean))
	for i, p := range m.clean {
		rows[i] = row{encode(p), Truth{Kind: "clean", Number: i, Of: -1}}
	}
	return rows
}

// plant makes the i-th planted row of a kind. Texts of WikiText-2 and the law set are
// taken in turn, each once as long as there are enough.
func (m *maker) plant(kind string, i int) row {
	switch kind {
	case "wikitext":
		return m.foreign(kind, m.wiki, i)
	case "law":
		return m.foreign(kind, m.law, i)
	case "numbers":
		return row{encode(halves(m.numbers())), Truth{Kind: kind, Of: -1, Number: -1}}
	case "exact_copy":
		of := m.rng.IntN(len(m.clean))
		return row{encode(m.clean[of]), Truth{Kind: kind, Of: of, Number: -1}}
	case "near_copy":
		return m.nearCopy()
	case "leak":
		return m.leak()
	case "malformed":
		line := encode(m.clean[m.rng.IntN(len(m.clean))])
		cut := len(line)/4 + m.rng.IntN(len(line)/2)
		for line[cut]&0xc0 == 0x80 { // not inside a character
			cut++
		}
		return row{append(slices.Clone(line[:cut]), '\n'), Truth{Kind: kind, Of: -1, Number: -1}}
	}
	panic("no such kind: " + kind)
}

func (m *maker) foreign(kind string, texts []string, i int) row {
	text := texts[i%len(texts)]
	if i >= len(texts) {
		fmt.Fprintf(os.Stderr, "contaminate: only %d texts of %s; some occur twice\n", len(texts), kind)
	}
	return row{encode(halves(text)), Truth{Kind: kind, Of: -1, Number: -1}}
}

// halves makes a row of a text, cut at the sentence end nearest to its middle, else at
// the space there, so that prose has the layout of a problem.
func halves(text string) problem {
	for _, mark := range []string{". ", "。", " "} {
		if i := strings.Index(text[len(text)/2:], mark); i >= 0 {
			cut := len(text)/2 + i + len(mark)
			return problem{strings.ToValidUTF8(text[:cut], ""), strings.ToValidUTF8(text[cut:], "")}
		}
	}
	return problem{text, ""}
}

// nearCopy edits 1 to 8 % of the words of a clean row, light edits more often than heavy
// ones: each word is replaced, deleted, or has another inserted behind it.
func (m *maker) nearCopy() row {
	of := m.rng.IntN(len(m.clean))
	source := m.clean[of]
	u := m.rng.Float64()
	share := 0.01 + 0.07*u*u
	edited := problem{m.edit(source.Question, share), m.edit(source.Answer, share)}
	if edited == source {
		edited.Question = "Today " + edited.Question
	}
	j := jaccard(source.text(), edited.text())
	m.similar = append(m.similar, j)
	return row{encode(edited), Truth{Kind: "near_copy", Of: of, Jaccard: j, Number: -1}}
}

var fillers = strings.Fields("really quickly small green together usually maybe often another only still quite " +
	"later gladly early nearby mostly plain extra")

func (m *maker) edit(text string, share float64) string {
	parts := strings.Split(text, " ")
	var out []string
	for _, w := range parts {
		if m.rng.Float64() >= share {
			out = append(out, w)
			continue
		}
		filler := fillers[m.rng.IntN(len(fillers))]
		switch m.rng.IntN(3) {
		case 0:
			out = append(out, filler)
		case 1: // deleted
		default:
			out = append(out, w, filler)
		}
	}
	return strings.Join(out, " ")
}

// leak is a test problem as it is, or a training-like text that quotes a long part of one.
func (m *maker) leak() row {
	of := m.rng.IntN(len(m.test))
	p := m.test[of]
	if m.rng.IntN(2) == 0 {
		return row{encode(p), Truth{Kind: "leak", Of: of, Number: -1}}
	}
	frame := m.clean[m.rng.IntN(len(m.clean))]
	ws := strings.Fields(p.Question)
	quoted := strings.Join(ws[:max(min(len(ws), 20), len(ws)*2/3)], " ")
	frame.Question += " A friend asked: " + quoted
	return row{encode(frame), Truth{Kind: "leak", Of: of, Number: -1}}
}

// numbers is a paragraph of prose full of numbers that is no word problem.
func (m *maker) numbers() string {
	places := strings.Fields("Harbour Station Mill Bridge Depot Tower Airport Quarry Market Junction")
	things := strings.Fields("passengers tonnes litres vehicles visitors parcels kilowatts readings tickets crates")
	verbs := strings.Fields("recorded handled reported logged processed measured registered")
	months := strings.Fields("January February March April May June July August September October November December")
	n := func(k int) int { return m.rng.IntN(k) + 1 }
	pick := func(of []string) string { return of[m.rng.IntN(len(of))] }
	var b strings.Builder
	for range 6 + m.rng.IntN(6) {
		switch m.rng.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "The %s office %s %d.%d thousand %s on %d %s %d, ",
				pick(places), pick(verbs), n(900), n(9), pick(things), n(28), pick(months), 1950+n(70))
			fmt.Fprintf(&b, "up %d.%d per cent from the %d %s of the year before. ", n(40), n(9), n(90000), pick(things))
		case 1:
			fmt.Fprintf(&b, "Line %d leaves %s at %02d:%02d and reaches %s at %02d:%02d, calling at platforms %d and %d. ",
				n(99), pick(places), m.rng.IntN(24), m.rng.IntN(60), pick(places), m.rng.IntN(24), m.rng.IntN(60), n(12), n(12))
		case 2:
			fmt.Fprintf(&b, "Section %d.%d of the %s report lists %d %s at grid reference %d-%d, elevation %d metres. ",
				n(20), n(20), pick(months), n(5000), pick(things), n(9999), n(9999), n(3000))
		default:
			fmt.Fprintf(&b, "Between %d and %d the %s %s %d %s, of which %d were returned under regulation %d/%d. ",
				1900+n(60), 1960+n(60), pick(places), pick(verbs), n(100000), pick(things), n(5000), n(300), 1990+n(30))
		}
	}
	return strings.TrimSpace(b.String())
}

// jaccard compares two texts by brute force: as sets of runs of five words.
func jaccard(a, b string) float64 {
	set := func(text string) []uint64 {
		return dedup.Distinct(dedup.Shingles(nil, words.AppendHashes(nil, text), 5))
	}
	x, y := set(a), set(b)
	common := 0
	for _, s := range x {
		if slices.Contains(y, s) {
			common++
		}
	}
	return float64(common) / float64(len(x)+len(y)-common)
}

// histogram prints how similar the edited copies are to their originals.
func (m *maker) histogram() {
	bins := make([]int, 20)
	high := 0
	for _, j := range m.similar {
		bins[min(19, int(j*20))]++
		if j >= 0.85 {
			high++
		}
	}
	fmt.Printf("edited copies by Jaccard similarity (%d, %d of them at 0.85 or more):\n", len(m.similar), high)
	for i, n := range bins {
		if n > 0 {
			fmt.Printf("  %.2f–%.2f %5d %s\n", float64(i)/20, float64(i+1)/20, n, strings.Repeat("#", (n+9)/10))
		}
	}
}

// shuffled is the clean rows with the words of each field in random order: text that
// teaches a model which words there are and nothing about their order.
func (m *maker) shuffled() []problem {
	out := make([]problem, len(m.clean))
	mixed := func(text string) string {
		ws := strings.Fields(text)
		m.rng.Shuffle(len(ws), func(i, j int) { ws[i], ws[j] = ws[j], ws[i] })
		return strings.Join(ws, " ")
	}
	for i, p := range m.clean {
		out[i] = problem{mixed(p.Question), mixed(p.Answer)}
	}
	return out
}
