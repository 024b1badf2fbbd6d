package stages

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/eval/network"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

// write writes the bundle's folder, and beside it the messages and the manifest.
func (b *bundling) write() error {
	for i := range b.manifest.Files {
		if err := b.writeFile(&b.manifest.Files[i]); err != nil {
			return err
		}
	}
	if err := b.hash(); err != nil {
		return err
	}
	if err := b.messages(); err != nil {
		return err
	}
	data, err := b.manifest.Encode()
	if err != nil {
		return err
	}
	m := b.manifest
	b.t.Figure("bundle", "out/bundle/%s, %d tensors, the weights after step %d of %d", m.Directory, m.Tensors,
		b.update.Meta.Steps, b.update.Meta.StepsRun)
	b.t.Figure("hash", "%s", m.Hash)
	for _, reason := range m.Refused {
		b.t.Note("the bundle is written although %s", reason)
	}
	return b.t.WriteFile("bundle/"+manifestName, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// writeFile writes one of the bundle's files, and books its size and hash.
func (b *bundling) writeFile(f *network.BundleFile) error {
	write, err := b.writer(*f)
	if err != nil {
		return err
	}
	h := sha256.New()
	count := new(byteCount)
	err = b.t.WriteFile("bundle/"+b.manifest.Directory+"/"+f.Name, func(w io.Writer) error {
		return write(io.MultiWriter(w, h, count))
	})
	f.Bytes, f.SHA256 = int64(*count), hex.EncodeToString(h.Sum(nil))
	return err
}

// byteCount counts what is written to it.
type byteCount int64

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

// writer returns what makes a file of a role and format.
func (b *bundling) writer(f network.BundleFile) (func(io.Writer) error, error) {
	if f.Role == "config" {
		return func(w io.Writer) error { return copyOf(w, b.t.Inputs, b.basePath(f.Name)) }, nil
	}
	src, metadata := checkpoint.Source(b.update.File), map[string]string(nil)
	switch {
	case f.Role == "model":
		var err error
		if src, err = b.whole(); err != nil {
			return nil, err
		}
		metadata = map[string]string{"format": "pt"} // without it transformers refuses the file
	case f.Format == "safetensors":
		return func(w io.Writer) error { return copyOf(w, b.t.FS, filepath.Join(updateDir(b.t), updateFile)) }, nil
	}
	tensors, err := checkpoint.Tensors(src)
	if err != nil {
		return nil, err
	}
	if f.Format == "torch" {
		return func(w io.Writer) error { return checkpoint.WriteTorch(w, tensors) }, nil
	}
	return func(w io.Writer) error { return checkpoint.Write(w, tensors, metadata) }, nil
}

func copyOf(w io.Writer, fsys store.FS, name string) error {
	in, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

// hash fills in the hash by which the network knows the update, and the number of tensors.
func (b *bundling) hash() (err error) {
	m := b.manifest
	src := checkpoint.Source(b.update.File)
	if slices.ContainsFunc(m.Files, isModel) {
		if src, err = b.whole(); err != nil {
			return err
		}
	}
	m.Tensors = len(src.Names())
	switch m.HashKind {
	case "blake2b-24":
		m.Hash, err = modelHash(src)
	case "sha256":
		m.Hash = m.Files[0].SHA256
	case "sn9-folder":
		m.Hash, err = hashOfFolder(m.Files)
		b.t.Note("the hash is of the bundle's files alone; a repository may add some of its own, such as .gitattributes: " +
			"after the upload, hash what is downloaded by bzdata hash --folder")
	default:
		err = fmt.Errorf("the profile's update.hash %q is not known", m.HashKind)
	}
	return err
}

// hashOfFolder is [network.FolderHash] of a flat folder.
func hashOfFolder(files []network.BundleFile) (string, error) {
	order := slices.Clone(files)
	slices.SortFunc(order, func(x, y network.BundleFile) int { return cmp.Compare(x.Name, y.Name) })
	var sums [][]byte
	for _, f := range order {
		sum, err := hex.DecodeString(f.SHA256)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		sums = append(sums, sum)
	}
	return network.HashOfSums(sums), nil
}

// messages writes the network's messages: a whole one as NAME.json or .txt, one with blanks as NAME.template.
func (b *bundling) messages() error {
	if b.profile == nil {
		return nil
	}
	messages, err := b.profile.Messages(network.Submission{ID: b.manifest.ID, Hash: b.manifest.Hash, Block: b.Block,
		Repository: b.Repository, Revision: b.Revision, Hotkey: b.Hotkey})
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	for _, m := range messages {
		file := network.MessageFile{Message: m, File: m.Name + messageExtension(m)}
		b.manifest.Messages = append(b.manifest.Messages, file)
		err := b.t.WriteFile("bundle/"+file.File, func(w io.Writer) error { _, err := io.WriteString(w, m.Text); return err })
		if err != nil {
			return err
		}
		var open []string
		for _, blank := range m.Blanks {
			open = append(open, blank.Name)
		}
		if len(open) > 0 {
			b.t.Note("out/bundle/%s: your own software fills in %s", file.File, strings.Join(open, ", "))
		}
		if m.BytesMax > 0 && m.Bytes > m.BytesMax {
			b.t.Note("%s may come to %d bytes, and the network takes %d; set repository and revision to know", m.Name, m.Bytes,
				m.BytesMax)
		}
	}
	return nil
}

func messageExtension(m network.Message) string {
	switch {
	case len(m.Blanks) > 0:
		return ".template"
	case strings.HasPrefix(m.Text, "{"):
		return ".json"
	}
	return ".txt"
}
