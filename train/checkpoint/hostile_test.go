package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// allocated is how many bytes do allocates in all, whether they are freed again or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allocationsMax bounds what may be allocated for a file: names, shapes and places of tensors take more
// than the bytes that state them, but no declared size does.
func allocationsMax(fileBytes int) uint64 { return 1<<18 + 40*uint64(fileBytes) }

// refuses checks that a file is refused in one line that names it and says what, cheaply.
func refuses(t *testing.T, what string, data []byte, parse func(data []byte) error, want string) {
	t.Helper()
	var err error
	n := allocated(func() { err = parse(data) })
	t.Logf("%s: %d bytes allocated, %.1f times the file", what, n, float64(n)/float64(len(data)))
	if n > allocationsMax(len(data)) {
		t.Errorf("%s: %d bytes allocated for a file of %d", what, n, len(data))
	}
	mustSay(t, err, want)
	if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 || !strings.HasPrefix(err.Error(), "w: ")) {
		t.Errorf("%s: not one short line that names the file: %v", what, err)
	}
}

func parseSafetensors(data []byte) error {
	_, err := Parse(bytes.NewReader(data), int64(len(data)), "w")
	return err
}

func parseTorch(data []byte) error {
	_, err := ParseTorch(bytes.NewReader(data), int64(len(data)), "w")
	return err
}

// record is a record to be written as it stands.
type rawRecord struct {
	name string
	data string
}

func torchZip(records ...rawRecord) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, r := range records {
		size := uint64(len(r.data))
		f, err := w.CreateRaw(&zip.FileHeader{Name: r.name, Method: zip.Store, CRC32: crc32.ChecksumIEEE([]byte(r.data)),
			CompressedSize64: size, UncompressedSize64: size})
		if err != nil {
			panic(err)
		}
		if _, err := f.Write([]byte(r.data)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// directoryEntry returns the central directory's entry of a record, to be changed in place.
func directoryEntry(data []byte, name string) []byte {
	at := bytes.LastIndex(data, []byte(name)) - 46
	if string(data[at:at+4]) != "PK\x01\x02" {
		panic("no entry of " + name)
	}
	return data[at:]
}

// Offsets in a central directory's entry.
const (
	entryMethod       = 10
	entryCompressed   = 20
	entryUncompressed = 24
	entryOffset       = 42
)

func put32(entry []byte, at int, n uint32) { binary.LittleEndian.PutUint32(entry[at:], n) }

// tensorPickle is a dictionary of one tensor "w" of type F32 with the arguments of its making.
func tensorPickle(storage string, elements, offset int, shape, stride []int, more string) string {
	out := []byte("\x80\x02}")
	out = append(appendText(out, "w"), "ctorch._utils\n_rebuild_tensor_v2\n(("...)
	out = append(appendText(out, "storage"), "ctorch\nFloatStorage\n"...)
	out = appendText(appendText(out, storage), "cpu")
	out = append(appendInt(out, elements), "tQ"...)
	out = appendShape(appendShape(appendInt(out, offset), shape), stride)
	return string(append(out, "\x89ccollections\nOrderedDict\n)R"+more+"tRs."...))
}

func TestTorchHostile(t *testing.T) {
	good := tensorPickle("0", 6, 0, []int{2, 3}, []int{3, 1}, "")
	values := strings.Repeat("\x00\x00\x80\x3f", 6)
	file := func(pickle string) []byte {
		return torchZip(rawRecord{"a/data.pkl", pickle}, rawRecord{"a/data/0", values}, rawRecord{"a/version", "3\n"})
	}
	if err := parseTorch(file(good)); err != nil {
		t.Fatal(err)
	}
	patched := func(name string, patches ...[2]uint32) []byte {
		data := file(good)
		for _, p := range patches {
			put32(directoryEntry(data, name), int(p[0]), p[1])
		}
		return data
	}
	for _, c := range []struct {
		what string
		data []byte
		want string
	}{
		{"nothing", nil, "not a file of torch.save"},
		{"no zip", []byte(strings.Repeat("x", 5000)), "not a file of torch.save"},
		{"overlap", patched("a/data/0", [2]uint32{entryOffset, 0}), `records "a/data/0" and "a/data.pkl" overlap`},
		{"compressed", patched("a/data/0", [2]uint32{entryMethod, 8}), `record "a/data/0": it is compressed`},
		{"huge record", patched("a/data/0", [2]uint32{entryCompressed, 1 << 31}, [2]uint32{entryUncompressed, 1 << 31}),
			`record "a/data/0": its 2147483648 bytes`},
		{"huge pickle", patched("a/data.pkl", [2]uint32{entryCompressed, 1<<32 - 2}, [2]uint32{entryUncompressed, 1<<32 - 2}),
			`record "a/data.pkl": its 4294967294 bytes`},
		{"two sizes", patched("a/data/0", [2]uint32{entryUncompressed, 1 << 31}), "it is compressed"},
		{"header outside", patched("a/data/0", [2]uint32{entryOffset, 1 << 30}), `record "a/data/0": `},
		{"short storage", patched("a/data/0", [2]uint32{entryCompressed, 20}, [2]uint32{entryUncompressed, 20}),
			`tensor "w": its storage of 6 values of F32 has 20 bytes`},
		{"twice", torchZip(rawRecord{"a/data.pkl", good}, rawRecord{"a/data/0", values}, rawRecord{"a/data/0", values}), "two records"},
		{"two pickles", torchZip(rawRecord{"a/data.pkl", good}, rawRecord{"b/data.pkl", good}), "may both be the pickle"},
		{"no pickle", torchZip(rawRecord{"a/data/0", values}), "no data.pkl"},
		{"no storage", torchZip(rawRecord{"a/data.pkl", good}), `its storage "0" is not in the file`},
		{"big-endian", torchZip(rawRecord{"a/data.pkl", good}, rawRecord{"a/byteorder", "big"}), "byteorder is not little"},
		{"up", torchZip(rawRecord{"../data.pkl", good}), `record "../data.pkl": the name is no plain path`},
		{"absolute", torchZip(rawRecord{"/data.pkl", good}), "no plain path"},
		{"backslash", torchZip(rawRecord{`a\data.pkl`, good}), "no plain path"},
	} {
		refuses(t, c.what, c.data, parseTorch, c.want)
	}
	for cut := range file(good) {
		if err := parseTorch(file(good)[:cut]); err == nil {
			t.Errorf("a file cut after %d bytes is read", cut)
		}
	}
}

// TestTensorHostile has tensors that do not lie in their storage.
func TestTensorHostile(t *testing.T) {
	file := func(pickle string) []byte {
		return torchZip(rawRecord{"a/data.pkl", pickle}, rawRecord{"a/data/0", strings.Repeat("\x00\x00\x80\x3f", 6)})
	}
	big := math.MaxInt
	shape := func(storage, offset int, shape, stride []int) []byte {
		return file(tensorPickle("0", storage, offset, shape, stride, ""))
	}
	for _, c := range []struct {
		what string
		data []byte
		want string
	}{
		{"storage elsewhere", file(tensorPickle("../../etc/passwd", 6, 0, []int{6}, []int{1}, "")), `storage "../../etc/passwd" is not`},
		{"negative shape", shape(6, 0, []int{-1}, []int{1}), "unexpected arguments of _rebuild_tensor_v2"},
		{"negative stride", shape(6, 5, []int{6}, []int{-1}), "unexpected arguments"},
		{"negative offset", shape(6, -1, []int{6}, []int{1}), "unexpected arguments"},
		{"overflowing shape", shape(6, 0, []int{big, big}, []int{1, 1}), "has no valid size"},
		{"overflowing stride", shape(6, 0, []int{3, 2}, []int{big, 1}), "reaches beyond a storage of 6 values"},
		{"offset", shape(6, 6, []int{1}, []int{1}), "reaches beyond"}, {"offset of 2^63-1", shape(6, big, []int{1}, []int{1}), "reaches beyond"},
		{"too large", shape(6, 1, []int{6}, []int{1}), "shape [6] with strides [1] from value 1 on reaches beyond"},
		{"expanded", shape(6, 0, []int{1 << 40}, []int{0}), "repeats values"},
		{"dimensions", shape(6, 0, slices.Repeat([]int{1}, 65), slices.Repeat([]int{1}, 65)), "unexpected arguments"},
		{"storage size", shape(big, 0, []int{6}, []int{1}), "its storage of 9223372036854775807 values of F32 has 24 bytes"},
		{"negated", file(tensorPickle("0", 6, 0, []int{6}, []int{1}, "}X\x03\x00\x00\x00neg\x88s")), "unexpected arguments"},
	} {
		refuses(t, c.what, c.data, parseTorch, c.want)
	}
}

// TestPickleHostile has pickles that would run code, or take memory out of all proportion.
func TestPickleHostile(t *testing.T) {
	long := strings.Repeat
	const n = 200_000
	for _, c := range []struct{ what, pickle, want string }{
		{"system", "cos\nsystem\n(X\x02\x00\x00\x00lstR.", "opcode 'c' at byte 0: os.system is no plain tensor"},
		{"builtins", "\x80\x02cbuiltins\neval\n.", "builtins.eval is no plain tensor"},
		{"stack global", "\x8c\x05posix\x8c\x06system\x93.", "posix.system is no plain tensor"},
		{"dotted", "ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "is no plain tensor"},
		{"type named as a storage", "cevil\nFloatStorage\n.", "evil.FloatStorage is no plain tensor"},
		{"instance", "(ios\nsystem\n.", "opcode 'i'"}, {"object", "(cos\nsystem\no.", "is no plain tensor"},
		{"new object", ")\x81.", "plain tensors do not need it"}, {"extension", "\x82\x01.", "plain tensors do not need it"},
		{"duplicate", "N2.", "plain tensors do not need it"},
		{"text of 4 GiB", "X\xff\xff\xff\xff", "cut short"}, {"text of 8 bytes' length", "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "do not need it"},
		{"bytes of 4 GiB", "B\xff\xff\xff\xff", "do not need it"}, {"number of 255 bytes", "\x8a\xff", "too long"},
		{"number of 4 GiB", "\x8b\xff\xff\xff\x7f", "do not need it"}, {"line without end", "c" + long("a", n), "the name of a class has more than 200 bytes"},
		{"dictionaries", long("}", n), "values on its stack"}, {"lists", long("]", n), "values on its stack"},
		{"marks", long("(", n), "values on its stack"}, {"tuples", long(")", n), "values on its stack"},
		{"nested tuples", long("(", 4000) + long("t", 4000) + ".", "no dictionary of tensors"},
		{"memo", "N" + long("\x94", n) + ".", "values in its memo"}, {"memo of dictionaries", long("}\x94", n), "its stack"},
		{"doubling", "N" + long("q\x000h\x00h\x00\x86", n/8) + ".", "no dictionary of tensors"},
		{"long list", "](" + long("N", 3000) + "e" + long("(NNNe", n/8) + ".", "no dictionary of tensors"},
		{"itself", "}q\x00X\x01\x00\x00\x00ah\x00s.", `tensor "a": it is no tensor`},
		{"reduced again", "ccollections\nOrderedDict\n" + long(")R", n), "errors"},
		{"many dictionaries", long("}0", n) + ".", "errors"}, {"one name", "}(" + long("\x8c\x01aN", 900) + "u.", "it is no tensor"},
	} {
		data := torchZip(rawRecord{"a/data.pkl", c.pickle})
		if c.want == "errors" {
			c.want = "w: "
		}
		refuses(t, c.what, data, parseTorch, c.want)
	}
	var names []byte
	for i := range n / 8 {
		names = append(fmt.Appendf(append(names, 'X', 6, 0, 0, 0), "%06d", i), "Ns"...)
	}
	refuses(t, "many names", torchZip(rawRecord{"a/data.pkl", "}" + string(names) + "."}), parseTorch, `tensor "000000": it is no tensor`)
}

// TestTorchMany checks that a file of many tensors, which share one pickled description, is read within
// the bounds: it is legal.
func TestTorchMany(t *testing.T) {
	first := tensorPickle("0", 6, 0, []int{2, 3}, []int{3, 1}, "")
	pickle := []byte(strings.TrimSuffix(first, "s.") + "q\x00s")
	const n = 20_000
	for i := range n {
		pickle = append(fmt.Appendf(append(pickle, 'X', 6, 0, 0, 0), "%06d", i), "h\x00s"...)
	}
	data := torchZip(rawRecord{"a/data.pkl", string(append(pickle, '.'))}, rawRecord{"a/data/0", strings.Repeat("abcd", 6)})
	var f *File
	var err error
	if got := allocated(func() { f, err = ParseTorch(bytes.NewReader(data), int64(len(data)), "w") }); got > allocationsMax(len(data)) {
		t.Errorf("%d bytes allocated for a file of %d", got, len(data))
	}
	if err != nil || len(f.Names()) != n+1 {
		t.Fatalf("%v, %v", f, err)
	}
}

func TestSafetensorsHostile(t *testing.T) {
	entry := func(shape, offsets string) string {
		return `{"a":{"dtype":"F32","shape":` + shape + `,"data_offsets":` + offsets + `}}`
	}
	long := strings.Repeat
	length := func(n uint64) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), "{}"...) }
	for _, c := range []struct {
		what string
		data []byte
		want string
	}{
		{"header of 2^63", length(1 << 63), "exceeds 100000000"}, {"header of 2^64-1", length(math.MaxUint64), "exceeds 100000000"},
		{"header of 99 MB", length(99_000_000), "does not fit in 10 bytes"},
		{"negative", rawFile(entry("[-1]", "[0,4]"), 4), `tensor "a"`},
		{"fraction", rawFile(entry("[1.5]", "[0,4]"), 4), `tensor "a"`},
		{"huge", rawFile(entry("[18446744073709551615]", "[0,4]"), 4), `tensor "a": dimension 0 is 18446744073709551615`},
		{"overflow to nothing", rawFile(entry("[4294967296,4294967296]", "[0,0]"), 0), "has no valid size"},
		{"overflow before 0", rawFile(entry("[4611686018427387904,4611686018427387904,0]", "[0,0]"), 0), "has no valid size"},
		{"larger than the file", rawFile(entry("[1099511627776]", "[0,4398046511104]"), 4), "past the 4 bytes of data"},
		{"offsets of 2^64", rawFile(entry("[1]", "[18446744073709551612,18446744073709551616]"), 4), `tensor "a"`},
		{"offsets of 2^64-4", rawFile(entry("[1]", "[18446744073709551608,18446744073709551612]"), 4), "are no range"},
		{"three offsets", rawFile(entry("[1]", "[0,4,8]"), 4), `tensor "a"`},
		{"shape of texts", rawFile(entry(`["1"]`, "[0,4]"), 4), `tensor "a"`},
		{"dimensions", rawFile(entry("[1"+long(",1", 100_000)+"]", "[0,4]"), 4), `tensor "a": `},
		{"zeros", rawFile(entry("[0"+long(",0", 100_000)+"]", "[0,0]"), 0), `tensor "a": `},
		{"nesting", rawFile(`{"a":`+long("[", 100_000), 0), "w: header"},
		{"nested metadata", rawFile(`{"__metadata__":{"a":{"b":"c"}}}`, 0), "__metadata__"},
		{"duplicate", rawFile(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1),
			`w: header: `},
		{"type", rawFile(`{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}`, 4), `tensor "a": unknown dtype "F33"`},
		{"long name", rawFile(`{"`+long("a", 100_000)+`":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), "its name has 100000 bytes"},
		{"long duplicate", rawFile(`{"`+long("a", 100_000)+`":1,"`+long("a", 100_000)+`":1}`, 0), "w: header: "},
		{"long type", rawFile(`{"a":{"dtype":"`+long("F", 100_000)+`","shape":[0],"data_offsets":[0,0]}}`, 0), "unknown dtype"},
		{"many names", rawFile(manyNames(20_000), 0), `tensor "000000"`},
	} {
		refuses(t, c.what, c.data, parseSafetensors, c.want)
	}
}

func manyNames(n int) string {
	out := []byte("{")
	for i := range n {
		out = fmt.Appendf(out, `"%06d":0,`, i)
	}
	out[len(out)-1] = '}'
	return string(out)
}

// TestFuzzSeedsBounded keeps the bound on the allocations of files that are accepted.
func TestFuzzSeedsBounded(t *testing.T) {
	for _, name := range []string{"torch.pt", "peer_views.pt", "peer_dtypes.pt", "linear.pt", "reference.safetensors"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		parse := parseTorch
		if strings.HasSuffix(name, ".safetensors") {
			parse = parseSafetensors
		}
		if n := allocated(func() { err = parse(data) }); err != nil || n > allocationsMax(len(data)) {
			t.Errorf("%s: %d bytes allocated for %d, %v", name, n, len(data), err)
		}
	}
}
