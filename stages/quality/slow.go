package quality

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// slowMeasures is the plain twin of every measurement: the definitions, spelt out with
// strings and maps. Tests hold the two against each other; the values are equal to the bit,
// being quotients of the same integers.
func slowMeasures(text string) map[string]float64 {
	out := map[string]float64{"characters": float64(utf8.RuneCountInString(text))}
	slowSpaceMeasures(out, text)
	slowLineMeasures(out, text)
	slowSegments(out, "paragraph", strings.Split(text, "\n\n"))
	slowGrams(out, text)
	slowDatatrove(out, text)
	slowC4Measures(out, text)
	slowLineFilters(out, text)
	return out
}

func slowSpaceMeasures(out map[string]float64, text string) {
	list := strings.FieldsFunc(text, words.IsSpace)
	alpha, stop := 0, map[string]bool{}
	for _, w := range list {
		if strings.ContainsFunc(w, unicode.IsLetter) {
			alpha++
		}
		for _, s := range stopWords {
			if strings.EqualFold(w, s) {
				stop[s] = true
			}
		}
	}
	marks := strings.Count(text, "...") + strings.Count(text, ". . .") + strings.Count(text, "…")
	out["mean_word_length"] = ratio(slowLength(list...), len(list))
	out["hash_word_ratio"] = ratio(strings.Count(text, "#"), len(list))
	out["ellipsis_word_ratio"] = ratio(marks, len(list))
	out["alpha_word_ratio"] = ratio(alpha, len(list))
	out["stop_words"] = float64(len(stop))
}

func slowLineMeasures(out map[string]float64, text string) {
	lines := strings.Split(text, "\n")
	slowSegments(out, "line", lines)
	count, bullets, dots, punct, short, repeated := 0, 0, 0, 0, 0, 0
	seen := map[string]bool{}
	add := func(n *int, cond bool) {
		if cond {
			*n++
		}
	}
	for _, line := range lines {
		trimmed := strings.TrimFunc(line, words.IsSpace)
		if trimmed == "" {
			continue
		}
		count++
		add(&bullets, strings.ContainsRune("●•*-", []rune(trimmed)[0]))
		add(&dots, strings.HasSuffix(trimmed, "...") || strings.HasSuffix(trimmed, ". . .") ||
			strings.HasSuffix(trimmed, "…"))
		last, _ := utf8.DecodeLastRuneInString(line)
		add(&punct, unicode.Is(unicode.STerm, last) ||
			strings.ContainsRune("\u17d4\u17d5\u17d6\u17d9\u17da", last))
		add(&short, utf8.RuneCountInString(line) <= 30)
		if seen[line] {
			repeated += utf8.RuneCountInString(line)
		}
		seen[line] = true
	}
	out["line_count"] = float64(count)
	out["bullet_line_ratio"] = ratio(bullets, count)
	out["ellipsis_line_ratio"] = ratio(dots, count)
	out["line_punct_ratio"] = ratio(punct, count)
	out["short_line_ratio"] = ratio(short, count)
	out["char_dup_ratio"] = ratio(repeated, utf8.RuneCountInString(strings.ReplaceAll(text, "\n", "")))
}

// slowLength is the length of words in characters. Joined they could have fewer, where bytes
// that are not UTF-8 meet.
func slowLength(words ...string) (n int) {
	for _, w := range words {
		n += utf8.RuneCountInString(w)
	}
	return n
}

// slowSegments sets the measurements of duplicate lines or paragraphs.
func slowSegments(out map[string]float64, kind string, pieces []string) {
	count, chars, dup, dupChars := 0, 0, 0, 0
	times := map[string]int{}
	for _, p := range pieces {
		times[strings.TrimFunc(p, words.IsSpace)]++
	}
	for _, p := range pieces {
		p = strings.TrimFunc(p, words.IsSpace)
		if n := utf8.RuneCountInString(p); n > 0 {
			count, chars = count+1, chars+n
			if times[p] > 1 {
				dup, dupChars = dup+1, dupChars+n
			}
		}
	}
	out["duplicate_"+kind+"_fraction"] = ratio(dup, count)
	out["duplicate_"+kind+"_char_fraction"] = ratio(dupChars, chars)
}

// slowGrams sets the measurements of words and n-grams, spelling each n-gram out.
func slowGrams(out map[string]float64, text string) {
	var list []string
	for _, span := range words.AppendUAX29(nil, text, words.Word) {
		w := span.Of(text)
		if r, _ := utf8.DecodeRuneInString(w); unicode.IsLetter(r) || unicode.IsNumber(r) {
			list = append(list, w)
		}
	}
	out["word_count"] = float64(len(list))
	length := func(ws []string) int { return slowLength(ws...) }
	for n := 2; n <= gramMax; n++ {
		times := map[string]int{}
		for i := 0; i+n <= len(list); i++ {
			times[strings.Join(list[i:i+n], "\n")]++
		}
		best, covered, inside := []int{1, 0}, 0, make([]bool, len(list))
		for i := 0; i+n <= len(list); i++ {
			count := times[strings.Join(list[i:i+n], "\n")]
			if count < 2 {
				continue
			}
			for j := i; j < i+n; j++ {
				inside[j] = true
			}
			if this := []int{count, length(list[i : i+n])}; slices.Compare(this, best) > 0 {
				best = this
			}
		}
		for i, in := range inside {
			if in {
				covered += utf8.RuneCountInString(list[i])
			}
		}
		m := gramMeasurements()[n-2].Name
		if n <= 4 {
			out[m] = ratio(best[0]*best[1], length(list))
		} else {
			out[m] = ratio(covered, length(list))
		}
	}
}
