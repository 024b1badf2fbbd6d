package pipeline

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"bzdata/pipeline/store"
)

// Plan is a plan file, decoded and checked.
type Plan struct {
	File string `yaml:"-"` // as given to ParsePlan

	Name    string   `yaml:"name" doc:"Name of the run; WORKDIR defaults to runs/NAME in the plan's folder. Default: the file's name without its extension."`
	Seed    uint64   `yaml:"seed" doc:"Seed of every random choice."`
	Vars    Vars     `yaml:"vars" doc:"Variables: ${name} stands for the value in any value below. A null variable must be given by --var where it is used."`
	Network Network  `yaml:"network" doc:"The network that the data is for; its profile gives defaults to the stages."`
	Input   []Input  `yaml:"input" required:"true" doc:"What is read."`
	HeldOut *HeldOut `yaml:"held_out" doc:"Documents kept for evaluation and out of training: a share of the input, or a list with the keys of input."`

	Evaluate *Evaluate `yaml:"evaluate" doc:"The rows that judge the update: those that the network's validators would read, in place of the held-out documents, which then only select."`

	MaxRejectFraction float64 `yaml:"max_reject_fraction" min:"0" max:"1" doc:"The run fails if more than this share of the records is malformed."`

	AlarmFraction float64 `yaml:"alarm_fraction" min:"0" max:"1" doc:"A stage that removes more than this share of a source is reported as an alarm; 0 is never."`
	OnAlarm       string  `yaml:"on_alarm" enum:"warn|fail" doc:"What an alarm does: the report says it, or the run ends with exit code 3, too."`

	Metrics Metrics `yaml:"metrics" doc:"What is measured while training, and in which formats; a change repeats no stage."`

	KeepDropped bool `yaml:"keep_dropped" doc:"Write the text of dropped documents into the drop log, too."`

	Stages []Step `yaml:"stages" required:"true" doc:"The stages, in order. Each is a mapping with one key, the kind of stage, and an optional id."`

	// Source is the text of the file, without the secrets in its addresses.
	Source string `yaml:"-"`
	// NetworkOrigin is the versioned name of the network's profile, or empty.
	NetworkOrigin string `yaml:"-"`
	// Settings are the effective values of all sections but vars and stages.
	Settings []Setting `yaml:"-"`

	// Window is the time that the run has, or nil if it has as much as it takes. It comes from the
	// command line.
	Window *Window `yaml:"-"`

	dec *decoder // not nil while Complete runs
	of  *Plan    // of a variant: the plan that it is one of
}

// Network is the section network.
type Network struct {
	Profile      string       `yaml:"profile" doc:"Versioned name of the network's profile, such as connito@0c936fa, or a name without its version for the newest."`
	ExpertGroup  *GroupChoice `yaml:"expert_group" doc:"Number of the expert group that is trained; or auto, the group that a route stage before ranks first."`
	ExpertGroups Path         `yaml:"expert_groups" doc:"Folder of the network's expert group definitions."`
	Base         Base         `yaml:"base" doc:"The base model."`
}

// Base is the section network.base.
type Base struct {
	Model       Path `yaml:"model" doc:"Folder of the base model: config.json, safetensors, tokenizer.json."`
	Checkpoints Path `yaml:"checkpoints" doc:"Folder in or below which the network's checkpoints lie, such as globalver_17_inneropt_0. The files model*.safetensors and model*.pt of the newest complete one take the place of the base model's tensors."`
}

// Input is one entry of the section input.
type Input struct {
	Paths          Paths    `yaml:"path" required:"true" unless:"tokens" doc:"Files, folders or globs of JSONL or Parquet, also compressed; one, or a list. Folders and globs pass over the run's own work directory."`
	Text           string   `yaml:"text" alias:"text_column" doc:"Field that holds the text. Default: text, unless template or messages is set."`
	Template       string   `yaml:"template" doc:"Text made of fields, such as \"{{question}}\\n{{answer}}\"."`
	Messages       string   `yaml:"messages" doc:"Field that holds a conversation: a list of role and content."`
	Columns        []string `yaml:"columns" doc:"Fields that are read and go on with the documents, such as [id, url], beside those that make the text. Of Parquet files only these columns are read, and each file must have them. Default: all."`
	Source         string   `yaml:"source" doc:"Name of the documents' source. Default: the last folder of the path before globs and variables, or the file's name."`
	LimitDocuments int64    `yaml:"limit_documents" min:"1" doc:"Read at most this many records; no limit if not set."`
	Tokens         Path     `yaml:"tokens" doc:"Folder of token shards that an earlier run made, such as runs/math/out/tokens, in place of documents: a plan then begins with train, and this is its only input."`
	Optional       bool     `yaml:"optional" doc:"No file at all is not an error."`
	RecordBytesMax Bytes    `yaml:"record_bytes_max" min:"1KiB" max:"1GiB" doc:"A record with more bytes is rejected as malformed."`
}

// SetDefaults fills an entry of a list of inputs.
func (in *Input) SetDefaults() { in.RecordBytesMax = 64 << 20 }

// Check asks for one way to the text, and names the source.
func (in *Input) Check(at *Fields) {
	if in.Tokens != "" {
		in.checkTokens(at)
		return
	}
	var ways []string
	for _, key := range []string{"text", "template", "messages"} {
		if at.IsSet(key) {
			ways = append(ways, key)
		}
	}
	switch {
	case len(ways) > 1:
		at.Errorf(ways[1], "the text comes from %s already; keep one of them", ways[0])
	case len(ways) == 0:
		in.Text = "text"
	}
	if in.Template != "" {
		if _, err := parseTemplate(in.Template); err != nil {
			at.Errorf("template", "%v", err)
		}
	}
	if at.IsSet("columns") && len(in.Columns) == 0 {
		at.Errorf("columns", "names no column; leave the key out to read all")
	}
	if in.Source == "" {
		in.Source = at.dec.defaultSource(at.path, in.Paths)
	}
	if in.Source == "" {
		at.Errorf("path", "gives the source no name; add source: NAME")
	}
}

// checkTokens asks for nothing beside the tokens.
func (in *Input) checkTokens(at *Fields) {
	for _, f := range fieldsOf(reflect.TypeFor[Input]()) {
		if f.key != "tokens" && at.IsSet(f.key) {
			at.Errorf(f.key, "is about documents, and the tokens are there already; remove it, or tokens")
		}
	}
}

// defaultSource names a source by its first path, as written before variables are replaced.
func (d *decoder) defaultSource(path string, paths Paths) string {
	n := d.at[join(path, "path")]
	if n.Kind == store.YAMLList {
		n = n.Items[0]
	}
	if raw, ok := d.raw[n]; ok {
		return fixedName(raw)
	}
	return fixedName(paths[0])
}

// HeldOut is the section held_out: either the first four fields, or Inputs.
type HeldOut struct {
	Fraction     float64  `yaml:"fraction" min:"0" max:"1" doc:"Share of the documents that is held out: those with the smallest content hashes."`
	DocumentsMax int64    `yaml:"documents_max" min:"1" doc:"Hold out at most this many documents; no limit if not set."`
	Sources      []string `yaml:"sources" doc:"Hold out of these sources only."`
	Inputs       []Input  `yaml:"inputs" hidden:"true" doc:"Held-out documents of their own."`
}

func (h *HeldOut) decodePlan(d *decoder, n *store.YAMLNode, path string, f field) {
	if n.Kind == store.YAMLList {
		f.required, f.typ = true, reflect.TypeFor[[]Input]()
		d.list(n, path, f, reflect.ValueOf(&h.Inputs).Elem())
		return
	}
	if child(n, "path") != nil {
		d.report(n, path, "write - path: on a line of its own",
			"held-out files are a list with the keys of input; a mapping holds out a share of the input")
		return
	}
	d.structure(n, path, reflect.ValueOf(h).Elem())
}

// SetDefaults holds out all, up to DocumentsMax.
func (h *HeldOut) SetDefaults() { h.Fraction = 1 }

// Check asks for a share, of sources that there are.
func (h *HeldOut) Check(at *Fields) {
	switch {
	case h.Fraction == 0:
		at.Errorf("fraction", "holds out nothing; write a number above 0, such as 0.02")
	case h.Fraction == 1 && h.DocumentsMax == 0:
		at.Errorf("fraction",
			"holds out every document; write less than 1, such as 0.02, or add documents_max")
	}
	for i, in := range h.Inputs {
		if in.Tokens != "" {
			at.Errorf(indexed("inputs", i), "held-out documents are needed as text; write path: with their files")
		}
	}
	known := at.Plan().Sources()
	for i, s := range h.Sources {
		if len(known) > 0 && !slices.Contains(known, s) {
			at.Unknown(indexed("sources", i), s, known)
		}
	}
}

// Sources returns the names of the input's sources, sorted, each once.
func (p *Plan) Sources() []string {
	names := map[string]bool{}
	for _, in := range p.Input {
		if in.Source != "" {
			names[in.Source] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Check looks at the name, which becomes that of a folder.
func (p *Plan) Check(at *Fields) {
	p.checkTokens(at)
	if p.Name == "" {
		base := filepath.Base(p.File)
		p.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	legal := func(r rune) bool {
		return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_.", r)
	}
	bad := strings.IndexFunc(p.Name, func(r rune) bool { return !legal(r) }) >= 0
	if bad || len(p.Name) > 100 || strings.HasPrefix(p.Name, ".") {
		at.Errorf("name", "%s cannot name a folder; use letters, digits, - _ and ., at most 100",
			quoteShort(p.Name))
	}
}

// InputTokens is the folder of token shards that the plan starts from, or empty if it starts from
// documents.
func (p *Plan) InputTokens() string {
	for _, in := range p.Input {
		if in.Tokens != "" {
			return string(in.Tokens)
		}
	}
	return ""
}

// checkTokens reports sections that go with documents only.
func (p *Plan) checkTokens(at *Fields) {
	if p.InputTokens() == "" {
		return
	}
	if len(p.Input) > 1 {
		at.Errorf("input", "has tokens beside other entries; tokens are a plan's only input")
	}
	if p.HeldOut != nil {
		at.Errorf("held_out", "the tokens have their select and judge parts already; remove it")
	}
}

// Dir is the plan's folder, from which its relative paths start.
func (p *Plan) Dir() string { return filepath.Dir(p.File) }

// Path returns a path of the plan as one that can be opened: absolute paths and those
// with a scheme, such as s3://, stay as they are.
func (p *Plan) Path(name string) string {
	if filepath.IsAbs(name) || strings.Contains(name, "://") {
		return name
	}
	return filepath.Join(p.Dir(), name)
}

// ParseOptions are the parts of a plan that do not stand in its file.
type ParseOptions struct {
	// Vars are the values of --var.
	Vars map[string]string
	// Set are the values of --set, in order.
	Set []Override
	// Env answers ${env:NAME}. Without it no variable of the environment is set.
	Env func(name string) (string, bool)
	// Profile finds a network profile: its defaults by the names in network tags (scalars,
	// lists and maps of them), and its versioned name. Without it there is no profile.
	Profile func(name string) (defaults map[string]any, versioned string, err error)
	// Hide takes the query, which may be a signature, off a web address, and returns the name
	// by which the file goes from then on. Without it no file has such an address.
	Hide func(address string) (name string, err error)
	// Complete may add steps that the plan implies, by [Plan.Insert], and report mistakes in
	// how its steps stand to each other, by [Plan.Mistake].
	Complete func(*Plan)
}

// ParsePlan decodes and checks a plan. The file is named in messages and is where relative
// paths start; it is not read. The error is a [Diags] with every mistake that was found.
// ParsePlan keeps no reference to src and never panics on it.
func ParsePlan(file string, src []byte, reg *Registry, opt ParseOptions) (*Plan, error) {
	return newDecoder(file, src, reg, opt).parse(src)
}

func (d *decoder) parse(src []byte) (*Plan, error) {
	root, problems := store.ParseYAML(src)
	if d.plan.Source = copyOf(src); d.plan.Source == unkept {
		d.lines = nil
	}
	for _, p := range problems {
		d.add(Diag{File: d.file, Line: p.Line, Col: p.Col, Msg: p.Msg})
	}
	switch {
	case root == nil && len(problems) == 0:
		d.report(nil, "", "", "the plan is empty; it needs input and stages")
	case root != nil && root.Kind != store.YAMLMap:
		d.report(root, "", "", "want a mapping with the keys %s, got %s", list(planKeys()), describe(root))
	case root != nil:
		d.decode(root)
	}
	if len(d.diags) > 0 {
		return nil, d.diags.sorted()
	}
	return d.plan, nil
}

func newDecoder(file string, src []byte, reg *Registry, opt ParseOptions) *decoder {
	text := strings.TrimPrefix(strings.ToValidUTF8(string(src), "\ufffd"), "\ufeff")
	d := &decoder{
		file: file, lines: strings.Split(store.RedactText(text), "\n"), reg: reg, opt: opt,
		plan:    newPlan(file),
		raw:     map[*store.YAMLNode]string{},
		bad:     map[*store.YAMLNode]bool{},
		sources: map[*store.YAMLNode]origin{},
		at:      map[string]*store.YAMLNode{},
		origins: map[string]string{},
	}
	return d
}

// newPlan is a plan of defaults.
func newPlan(file string) *Plan {
	return &Plan{File: file, MaxRejectFraction: 0.01, AlarmFraction: 0.9, OnAlarm: "warn",
		Metrics: Metrics{WandBProject: "blockzero-miner"}}
}

// decode runs the steps of reading a plan, each on what the one before left.
func (d *decoder) decode(root *store.YAMLNode) {
	d.root = root
	d.readVars(root)
	for _, o := range d.opt.Set {
		d.override(root, o)
	}
	d.substitute(root, "")
	d.hideQueries(root, "")
	d.readProfile(root)
	d.nameSteps(root)
	d.structure(root, "", reflect.ValueOf(d.plan).Elem())
	d.complete()
	d.checkFlow()
	for _, f := range visible(fieldsOf(reflect.TypeFor[Plan]())) {
		if f.key != "vars" && f.key != "stages" {
			v := reflect.ValueOf(d.plan).Elem().FieldByIndex(f.index)
			d.plan.Settings = d.settings(d.plan.Settings, f.key, f.key, v)
		}
	}
}

// readProfile finds the network's profile before any stage asks for its defaults.
func (d *decoder) readProfile(root *store.YAMLNode) {
	n := child(child(root, "network"), "profile")
	if n == nil || n.Kind != store.YAMLScalar || isNull(n) || d.bad[n] {
		return
	}
	if d.opt.Profile == nil {
		d.spoil(n, "network.profile", "", "there are no network profiles here; remove it")
		return
	}
	defaults, name, err := d.opt.Profile(n.Text)
	if err != nil {
		d.spoil(n, "network.profile", "", "%v", err)
		return
	}
	d.profile, d.plan.NetworkOrigin = profile{defaults, name, n}, name
}

// complete lets the caller add implied steps to a plan whose steps are all known.
func (d *decoder) complete() {
	if d.opt.Complete == nil || len(d.diags) > 0 {
		return
	}
	d.plan.dec = d
	d.opt.Complete(d.plan)
	d.plan.dec = nil
}

// child returns the value of a key of a map, or nil; a duplicate key has its first value.
func child(n *store.YAMLNode, key string) *store.YAMLNode {
	if n == nil {
		return nil
	}
	for i, k := range n.Keys {
		if k.Text == key {
			return n.Items[i]
		}
	}
	return nil
}

// planKeys are the sections of a plan.
func planKeys() []string { return keysOf(fieldsOf(reflect.TypeFor[Plan]())) }

// reservedKey reports whether a stage cannot have this name.
func reservedKey(name string) bool { return name == "id" || slices.Contains(planKeys(), name) }

// From returns the index of the step whose output of a kind the step at index takes:
// the latest earlier one that makes it. It is -1 for what the input is, and ok is
// false if nothing makes it.
func (p *Plan) From(index int, data Data) (from int, ok bool) {
	for i := index - 1; i >= 0; i-- {
		if slices.Contains(p.Stages[i].Kind.Makes, data) {
			return i, true
		}
	}
	if p.InputTokens() != "" {
		return -1, data == Tokens
	}
	return -1, data == Documents
}

// checkFlow reports steps that take what no earlier step makes.
func (d *decoder) checkFlow() {
	steps := d.plan.Stages
	unknown := slices.ContainsFunc(steps, func(s Step) bool { return s.Kind.Name == "" })
	if unknown || d.alone {
		return // an unknown stage might have made it
	}
	for i, s := range steps {
		for _, data := range s.Kind.Takes {
			if _, ok := d.plan.From(i, data); !ok {
				d.report(s.node, s.path, "",
					"takes %s, which no earlier stage makes; %s", data, d.remedy(i, data))
			}
		}
	}
}

// remedy says how the step at index could get data.
func (d *decoder) remedy(index int, data Data) string {
	for _, s := range d.plan.Stages[index+1:] {
		if slices.Contains(s.Kind.Makes, data) {
			return fmt.Sprintf("move %s, on line %d, before it", s.ID, s.Line)
		}
	}
	if data == Documents {
		return "read documents under input"
	}
	if makers := d.reg.makers(data); len(makers) > 0 {
		return "put " + strings.Join(makers, " or ") + " before it"
	}
	return "no stage of this program makes it"
}
