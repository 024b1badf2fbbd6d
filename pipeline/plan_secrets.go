package pipeline

import "bzdata/pipeline/store"

// hideQueries replaces the addresses with a query, which may be a signature, by names that
// hold no secret. Everything behind it, keys, settings and messages, sees the names only.
func (d *decoder) hideQueries(n *store.YAMLNode, path string) {
	for i, item := range n.Items {
		at := indexed(path, i)
		if n.Kind == store.YAMLMap {
			at = join(path, n.Keys[i].Text)
		}
		d.hideQueries(item, at)
	}
	if n.Kind != store.YAMLScalar || d.bad[n] {
		return
	}
	name, found := store.HasQuery(n.Text)
	if !found {
		return
	}
	address := n.Text
	n.Text = name
	if d.opt.Hide == nil {
		d.spoil(n, path, "", "an address with a query cannot be read here; download the file")
		return
	}
	if _, err := d.opt.Hide(address); err != nil {
		d.spoil(n, path, "", "%v", err)
	}
}

// unkept stands for the text of a plan that is not kept.
const unkept = "# This plan has addresses with secrets that cannot be cut out of its text; it is not kept.\n"

// copyOf is the text of a plan as it is kept: without the secrets in its addresses. Where
// one is spelt so that it cannot be cut out, as with escapes, nothing is kept.
func copyOf(src []byte) string {
	text := store.RedactText(string(src))
	if root, _ := store.ParseYAML([]byte(text)); root != nil && holdsSecret(root) {
		return unkept
	}
	return text
}

func holdsSecret(n *store.YAMLNode) bool {
	for _, nodes := range [][]*store.YAMLNode{n.Keys, n.Items} {
		for _, item := range nodes {
			if holdsSecret(item) {
				return true
			}
		}
	}
	return store.RedactText(n.Text) != n.Text
}
