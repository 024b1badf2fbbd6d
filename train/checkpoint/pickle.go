package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// The values of a pickle besides nil, bool, int64, float64 and string.
type (
	pickleTuple  []any
	pickleList   struct{ _ byte } // what it holds does not matter, but each list is another one
	pickleGlobal struct{ module, name string }
	pickleMark   struct{}
	// pickleDict keeps the order of insertion and, as Python does, the last value of a key.
	pickleDict struct {
		keys   []string
		values map[string]any
		other  bool // some key is no text
	}
	pickleStorage struct {
		dtype    DType
		key      string // name of the record that holds the values
		elements int64
	}
	pickleTensor struct {
		storage pickleStorage
		offset  int64 // elements into the storage
		shape   []int
		stride  []int
	}
)

// put sets a key's value.
func (d *pickleDict) put(key string, v any) {
	if d.values == nil {
		d.values = map[string]any{}
	}
	if _, again := d.values[key]; !again {
		d.keys = appendDoubling(d.keys, key)
	}
	d.values[key] = v
}

// appendDoubling is append with room for twice as many, so that growing costs as much
// as what is there and no more.
func appendDoubling[E any](list []E, v E) []E {
	if len(list) == cap(list) {
		list = slices.Grow(list, max(8, len(list)))
	}
	return append(list, v)
}

// storageTypes maps torch's storage classes to types.
var storageTypes = map[string]DType{
	"FloatStorage": F32, "HalfStorage": F16, "BFloat16Storage": BF16, "DoubleStorage": F64,
	"ComplexFloatStorage": C64, "LongStorage": I64, "IntStorage": I32, "ShortStorage": I16, "CharStorage": I8,
	"ByteStorage": U8, "BoolStorage": Bool,
}

// unpickler runs the part of Python's pickle machine that dictionaries of tensors need.
// It makes no objects: every other class or function is an error that names it. What it
// holds is bounded by a small multiple of the pickle: stackMax and memoMax are more than torch.save
// ever needs, which has at most 2,000 values of a dictionary on the stack and puts one into the memo
// for every seven bytes or more, but one byte is enough for an opcode that makes a value.
type unpickler struct {
	in                *bytes.Reader
	stack             []any
	memo              map[uint32]any
	stackMax, memoMax int
}

func unpickle(data []byte) (any, error) {
	u := &unpickler{in: bytes.NewReader(data), memo: map[uint32]any{},
		stackMax: 4096 + len(data)/16, memoMax: 4096 + len(data)/4}
	for {
		if len(u.stack) > u.stackMax {
			return nil, fmt.Errorf("the pickle of %d bytes has more than %d values on its stack", len(data), u.stackMax)
		}
		if len(u.memo) > u.memoMax {
			return nil, fmt.Errorf("the pickle of %d bytes has more than %d values in its memo", len(data), u.memoMax)
		}
		at := len(data) - u.in.Len()
		op, err := u.in.ReadByte()
		if err != nil {
			return nil, errors.New("the pickle is cut short")
		}
		if op == '.' {
			return u.pop()
		}
		if err := u.run(op); err != nil {
			return nil, fmt.Errorf("pickle opcode %q at byte %d: %w", op, at, err)
		}
	}
}

// pickleNameMax is far more bytes than the names of classes and storages have.
const pickleNameMax = 200

var errPickleStack = errors.New("the stack has not what it takes")

func (u *unpickler) push(v any) { u.stack = appendDoubling(u.stack, v) }

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == 0 {
		return nil, errPickleStack
	}
	v := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	return v, nil
}

// popMark removes and returns what lies above the last mark.
func (u *unpickler) popMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, ok := u.stack[i].(pickleMark); ok {
			above := slices.Clone(u.stack[i+1:])
			u.stack = u.stack[:i]
			return above, nil
		}
	}
	return nil, errPickleStack
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) == 0 {
		return nil, errPickleStack
	}
	return u.stack[len(u.stack)-1], nil
}

// run executes one opcode; see Lib/pickletools.py of Python for their definitions.
func (u *unpickler) run(op byte) error {
	if v, ok := u.simple(op); ok {
		u.push(v)
		return nil
	}
	switch op {
	case 0x80: // PROTO
		_, err := u.bytes(1)
		return err
	case 0x95: // FRAME
		_, err := u.bytes(8)
		return err
	case '0': // POP
		_, err := u.pop()
		return err
	case 'K', 'M', 'J', 0x8a, 'G', 'X', 0x8c:
		v, err := u.constant(op)
		u.push(v)
		return err
	case 0x85, 0x86, 0x87, 't':
		return u.tuple(op)
	case 's', 'u', 'a', 'e':
		return u.fill(op)
	case 'q', 'r', 'h', 'j', 0x94:
		return u.memory(op)
	case 'c', 0x93:
		return u.global(op)
	case 'Q': // BINPERSID
		return u.persistent()
	case 'R': // REDUCE
		return u.reduce()
	case 'b': // BUILD: the attributes of a dictionary, which do not matter here
		if _, err := u.pop(); err != nil {
			return err
		}
		v, err := u.top()
		if _, ok := v.(*pickleDict); err == nil && !ok {
			err = errors.New("only dictionaries may have attributes")
		}
		return err
	}
	return errors.New("plain tensors do not need it; save only a dictionary of tensors")
}

func (u *unpickler) simple(op byte) (any, bool) {
	switch op {
	case '(':
		return pickleMark{}, true
	case 'N':
		return nil, true
	case 0x88:
		return true, true
	case 0x89:
		return false, true
	case '}':
		return &pickleDict{}, true
	case ']':
		return &pickleList{}, true
	case ')':
		return pickleTuple{}, true
	}
	return nil, false
}

func (u *unpickler) bytes(n int64) ([]byte, error) {
	if n < 0 || n > int64(u.in.Len()) {
		return nil, errors.New("the pickle is cut short")
	}
	out := make([]byte, n)
	_, err := io.ReadFull(u.in, out)
	return out, err
}

func (u *unpickler) constant(op byte) (any, error) {
	length := map[byte]int64{'K': 1, 'M': 2, 'J': 4, 0x8a: 1, 'G': 8, 'X': 4, 0x8c: 1}[op]
	b, err := u.bytes(length)
	if err != nil {
		return nil, err
	}
	switch op {
	case 'K':
		return int64(b[0]), nil
	case 'M':
		return int64(binary.LittleEndian.Uint16(b)), nil
	case 'J':
		return int64(int32(binary.LittleEndian.Uint32(b))), nil
	case 'G':
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case 'X':
		b, err = u.bytes(int64(binary.LittleEndian.Uint32(b)))
		return string(b), err
	case 0x8c:
		b, err = u.bytes(int64(b[0]))
		return string(b), err
	}
	return u.long(int64(b[0]))
}

// long reads a two's complement number of up to 8 bytes.
func (u *unpickler) long(length int64) (any, error) {
	if length > 8 {
		return nil, fmt.Errorf("a number of %d bytes is too long", length)
	}
	b, err := u.bytes(length)
	if err != nil || length == 0 {
		return int64(0), err
	}
	fill := byte(0)
	if b[length-1]&0x80 != 0 {
		fill = 0xff
	}
	for len(b) < 8 {
		b = append(b, fill)
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

func (u *unpickler) tuple(op byte) error {
	if op == 't' {
		items, err := u.popMark()
		u.push(pickleTuple(items))
		return err
	}
	n := int(op-0x85) + 1
	if len(u.stack) < n {
		return errPickleStack
	}
	items := slices.Clone(u.stack[len(u.stack)-n:])
	u.stack = append(u.stack[:len(u.stack)-n], pickleTuple(items))
	return nil
}

// fill puts one or more items into the dictionary or list below them.
func (u *unpickler) fill(op byte) error {
	var items []any
	var err error
	switch {
	case op == 'u' || op == 'e':
		items, err = u.popMark()
	default:
		n := map[byte]int{'s': 2, 'a': 1}[op]
		if len(u.stack) < n {
			return errPickleStack
		}
		items = slices.Clone(u.stack[len(u.stack)-n:])
		u.stack = u.stack[:len(u.stack)-n]
	}
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	if op == 'a' || op == 'e' {
		if _, ok := v.(*pickleList); !ok {
			return errPickleStack
		}
		return nil
	}
	dict, ok := v.(*pickleDict)
	if !ok || len(items)%2 != 0 {
		return errPickleStack
	}
	for i := 0; i < len(items); i += 2 {
		key, ok := items[i].(string)
		if !ok {
			dict.other = true
			continue
		}
		dict.put(key, items[i+1])
	}
	return nil
}

func (u *unpickler) memory(op byte) error {
	index := uint32(len(u.memo))
	if op != 0x94 {
		b, err := u.bytes(map[byte]int64{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op])
		if err != nil {
			return err
		}
		index = binary.LittleEndian.Uint32(append(b, 0, 0, 0)[:4])
	}
	if op == 'h' || op == 'j' {
		v, ok := u.memo[index]
		if !ok {
			return fmt.Errorf("memo %d is empty", index)
		}
		u.push(v)
		return nil
	}
	v, err := u.top()
	u.memo[index] = v
	return err
}

func (u *unpickler) global(op byte) error {
	var g pickleGlobal
	if op == 0x93 { // STACK_GLOBAL
		if len(u.stack) < 2 {
			return errPickleStack
		}
		pair := u.stack[len(u.stack)-2:]
		module, ok1 := pair[0].(string)
		name, ok2 := pair[1].(string)
		if !ok1 || !ok2 {
			return errPickleStack
		}
		g = pickleGlobal{module, name}
		u.stack = u.stack[:len(u.stack)-2]
	} else {
		module, err1 := u.line()
		name, err2 := u.line()
		if err := cmp.Or(err1, err2); err != nil {
			return err
		}
		g = pickleGlobal{module, name}
	}
	if !g.known() {
		return fmt.Errorf("%.100s.%.100s is no plain tensor; save only a dictionary of tensors", g.module, g.name)
	}
	u.push(g)
	return nil
}

func (g pickleGlobal) known() bool {
	_, storage := storageTypes[g.name]
	switch g.module {
	case "torch":
		return storage
	case "torch._utils":
		return g.name == "_rebuild_tensor_v2" || g.name == "_rebuild_parameter"
	}
	return g == pickleGlobal{"collections", "OrderedDict"}
}

func (u *unpickler) line() (string, error) {
	var out strings.Builder
	for out.Len() <= pickleNameMax {
		b, err := u.in.ReadByte()
		if err != nil {
			return "", errors.New("the pickle is cut short")
		}
		if b == '\n' {
			return out.String(), nil
		}
		out.WriteByte(b)
	}
	return "", fmt.Errorf("the name of a class has more than %d bytes", pickleNameMax)
}

// persistent makes a storage of ('storage', class, key, place, elements).
func (u *unpickler) persistent() error {
	v, err := u.pop()
	if err != nil {
		return err
	}
	id, ok := v.(pickleTuple)
	if !ok || len(id) < 5 || id[0] != any("storage") {
		return errors.New("the persistent object is no storage")
	}
	class, ok1 := id[1].(pickleGlobal)
	key, ok2 := id[2].(string)
	n, ok3 := id[4].(int64)
	dtype, ok4 := storageTypes[class.name]
	if !ok1 || !ok2 || !ok3 || !ok4 || n < 0 || len(key) > pickleNameMax {
		return errors.New("the persistent object is no storage")
	}
	u.push(pickleStorage{dtype: dtype, key: key, elements: n})
	return nil
}

func (u *unpickler) reduce() error {
	if len(u.stack) < 2 {
		return errPickleStack
	}
	function, ok1 := u.stack[len(u.stack)-2].(pickleGlobal)
	args, ok2 := u.stack[len(u.stack)-1].(pickleTuple)
	if !ok1 || !ok2 {
		return errPickleStack
	}
	u.stack = u.stack[:len(u.stack)-2]
	switch function.name {
	case "OrderedDict":
		if len(args) == 0 {
			u.push(&pickleDict{})
			return nil
		}
	case "_rebuild_parameter":
		if len(args) > 0 {
			if t, ok := args[0].(pickleTensor); ok {
				u.push(t)
				return nil
			}
		}
	case "_rebuild_tensor_v2":
		if t, ok := rebuildTensor(args); ok {
			u.push(t)
			return nil
		}
	}
	return fmt.Errorf("unexpected arguments of %s", function.name)
}

// rebuildTensor makes a tensor of (storage, offset, shape, stride, requires_grad, hooks) and
// perhaps metadata, which says that values are to be negated or conjugated, and must be empty.
func rebuildTensor(args pickleTuple) (t pickleTensor, ok bool) {
	if len(args) < 4 || len(args) > 7 {
		return t, false
	}
	if len(args) == 7 {
		if m, isDict := args[6].(*pickleDict); args[6] != nil && (!isDict || m.values != nil || m.other) {
			return t, false
		}
	}
	storage, ok1 := args[0].(pickleStorage)
	offset, ok2 := args[1].(int64)
	shape, ok3 := dimensions(args[2])
	stride, ok4 := dimensions(args[3])
	t = pickleTensor{storage, offset, shape, stride}
	return t, ok1 && ok2 && ok3 && ok4 && offset >= 0 && len(shape) == len(stride)
}

func dimensions(v any) ([]int, bool) {
	tuple, ok := v.(pickleTuple)
	if len(tuple) > dimensionsMax {
		return nil, false
	}
	out := make([]int, len(tuple))
	for i := range tuple {
		n, isInt := tuple[i].(int64)
		ok = ok && isInt && n >= 0
		out[i] = int(n)
	}
	return out, ok
}
