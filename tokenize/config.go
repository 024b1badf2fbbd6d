package tokenize

// withConfig applies a tokenizer_config.json: bos_token, eos_token and pad_token, each
// a string, an object with "content", or null for none; an absent key leaves the role
// that the token's name gave. LlamaTokenizer and LlamaTokenizerFast
// replace the template by add_bos_token (default true) and add_eos_token (default
// false), as transformers 4.57 does when it opens such a folder.
func (t *Tokenizer) withConfig(data []byte) (*Tokenizer, error) {
	top, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	o, err := top.object()
	if err != nil {
		return nil, err
	}
	r := Roles{t.content(t.bos), t.content(t.eos), t.content(t.pad)}
	for _, role := range []struct {
		key     string
		content *string
	}{{"bos_token", &r.BOS}, {"eos_token", &r.EOS}, {"pad_token", &r.Pad}} {
		if _, given := o.members[role.key]; !given {
			continue
		}
		if *role.content, err = o.take(role.key).tokenContent(); err != nil {
			return nil, err
		}
	}
	out, err := t.WithRoles(r)
	if err != nil {
		return nil, err
	}
	class := o.take("tokenizer_class")
	if name := string(class.raw); name != `"LlamaTokenizer"` && name != `"LlamaTokenizerFast"` {
		return out, nil
	}
	return out, out.llamaTemplate(r, o)
}

func (v value) tokenContent() (string, error) {
	if v.isNull() {
		return "", nil
	}
	if v.raw.Kind() != '{' {
		return v.text()
	}
	o, err := v.object()
	if err != nil {
		return "", err
	}
	return o.take("content").text()
}

func (t *Tokenizer) llamaTemplate(r Roles, o *object) error {
	bos, eos := o.take("add_bos_token"), o.take("add_eos_token")
	addBOS, err := bos.flag()
	if err != nil {
		return err
	}
	addEOS, err := eos.flag()
	if err != nil {
		return err
	}
	t.prefix, t.suffix = nil, nil
	t.spec.prefix, t.spec.suffix = nil, nil
	if (addBOS || bos.isNull()) && r.BOS != "" {
		t.prefix, t.spec.prefix = []int32{t.bos}, []string{r.BOS}
	}
	if addEOS && r.EOS != "" {
		t.suffix, t.spec.suffix = []int32{t.eos}, []string{r.EOS}
	}
	return nil
}
