package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// timeForm is how a line writes a time.
const timeForm = "2006-01-02T15:04:05.000Z"

// jsonLines is the format of NAME-ID.jsonl.
type jsonLines struct{}

func (jsonLines) head(Row) []byte { return nil }
func (jsonLines) tail(Row) []byte { return nil }

// row writes a row as one line.
func (jsonLines) row(r Row) []byte {
	out := fmt.Appendf(nil, `{"step":%d,"time":"%s"`, r.Step, r.Time.UTC().Format(timeForm))
	for _, v := range r.Values {
		out = append(append(append(out, ','), quoted(v.Name)...), ':')
		out = append(out, number(v.Number)...)
	}
	if len(r.Load) == 0 {
		return append(out, "}\n"...)
	}
	out = append(out, `,"`+expertLoad+`":{`...)
	for i, l := range r.Load {
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, `"%d":[`, l.Layer)
		for e, c := range l.Experts {
			if e > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendInt(out, c, 10)
		}
		out = append(out, ']')
	}
	return append(out, "}}\n"...)
}

// quoted is a name as JSON.
func quoted(name string) []byte {
	out, err := json.Marshal(name)
	if err != nil {
		panic(err) // a string has a form
	}
	return out
}

// number is a finite number as JSON, with as many digits as tell it from any other.
func number(x float64) []byte {
	out, err := json.Marshal(x)
	if err != nil {
		panic(err) // rows hold finite numbers
	}
	return out
}

// parseRow reads a line, without its end.
func parseRow(line []byte) (Row, error) {
	p := rowParser{json: json.NewDecoder(bytes.NewReader(line)), seen: map[string]bool{}}
	p.json.UseNumber()
	if err := p.object(p.key); err != nil {
		return Row{}, err
	}
	if _, err := p.json.Token(); err != io.EOF {
		return Row{}, errors.New("there is more behind the object")
	}
	if !p.seen["step"] || !p.seen["time"] {
		return Row{}, errors.New("a row needs step and time")
	}
	return p.row, nil
}

// rowParser reads one object, its keys in order.
type rowParser struct {
	json *json.Decoder
	row  Row
	seen map[string]bool
}

// object reads a { … }, calling key after each key.
func (p *rowParser) object(key func(name string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.json.More() {
		t, err := p.json.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errors.New("want a key")
		}
		if err := key(name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return p.delim('}')
}

func (p *rowParser) delim(want json.Delim) error {
	t, err := p.json.Token()
	if err == nil && t != want {
		err = fmt.Errorf("want %v, got %v", want, t)
	}
	return err
}

func (p *rowParser) key(name string) (err error) {
	if p.seen[name] {
		return errors.New("the key is there twice")
	}
	p.seen[name] = true
	switch name {
	case "step":
		var step int64
		step, err = p.integer()
		p.row.Step = int(step)
	case "time":
		err = p.time()
	case expertLoad:
		err = p.object(p.layer)
	default:
		err = p.value(name)
	}
	return err
}

func (p *rowParser) time() error {
	t, err := p.json.Token()
	if err != nil {
		return err
	}
	text, _ := t.(string)
	at, err := time.Parse(timeForm, text)
	p.row.Time = at.UTC()
	if err == nil && at.Format(timeForm) != text {
		err = errors.New("want a time in milliseconds")
	}
	return err
}

func (p *rowParser) value(name string) error {
	t, err := p.json.Token()
	if err != nil {
		return err
	}
	text, _ := t.(json.Number)
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(x, 0) {
		return errors.New("want a finite number")
	}
	p.row.Values = append(p.row.Values, Value{name, x})
	return nil
}

// integer reads a number that is whole and not negative.
func (p *rowParser) integer() (int64, error) {
	t, err := p.json.Token()
	if err != nil {
		return 0, err
	}
	text, _ := t.(json.Number)
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("want a whole number, not negative")
	}
	return n, nil
}

// layer reads the loads of one layer; layers come in order.
func (p *rowParser) layer(name string) error {
	n, err := strconv.Atoi(name)
	before := -1
	if have := p.row.Load; len(have) > 0 {
		before = have[len(have)-1].Layer
	}
	if err != nil || n <= before || strconv.Itoa(n) != name {
		return errors.New("want the layers' numbers, in order")
	}
	if err := p.delim('['); err != nil {
		return err
	}
	l := Load{Layer: n}
	for p.json.More() {
		count, err := p.integer()
		if err != nil {
			return err
		}
		l.Experts = append(l.Experts, count)
	}
	p.row.Load = append(p.row.Load, l)
	return p.delim(']')
}
