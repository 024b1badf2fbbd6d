package network

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Submission is what the messages about an update are made of. What is empty, or 0, the miner's own
// software must fill in.
type Submission struct {
	ID         BundleID
	Hash       string // of the kind that the profile says
	Block      int64  // blockzero: number of the block at which the miner commits
	Repository string // connito and sn9: OWNER/NAME
	Revision   string // connito and sn9: the repository's commit, hexadecimal
	Hotkey     string // sn9 and blockzero-docs: SS58 address of the miner's hotkey
}

// Message is an unsigned message about an update, byte for byte as the network's own software writes it.
type Message struct {
	Name string `json:"name"` // commit_1, commit_2 or message
	// Text has <NAME> where a blank stands, so that a message with blanks cannot be taken for a whole one.
	Text     string  `json:"text"`
	Blanks   []Blank `json:"fill_in,omitempty"`
	BytesMax int     `json:"bytes_max,omitempty"` // the network's limit
	// Bytes is the length with all blanks filled in as long as they may be.
	Bytes int `json:"bytes"`
}

// Blank is a part of a message that is not known here.
type Blank struct {
	Name     string `json:"name"`
	What     string `json:"what"`
	CharsMax int    `json:"chars_max"` // of what is filled in
}

// Lengths of what is filled in.
const (
	signatureChars  = 86 // 64 bytes as base64 without padding
	blockChars      = 10
	shortRevision   = 7  // what connito commits
	revisionChars   = 40 // a git commit, which sn9 commits
	secureHashChars = 44
	hotkeyChars     = 48
	urlChars        = 256
	repositoryChars = 96 // the limit of Hugging Face, where the network has none
)

// draft is a message being written.
type draft struct {
	text   strings.Builder
	blanks []Blank
}

func (d *draft) put(parts ...string) *draft {
	for _, p := range parts {
		d.text.WriteString(p)
	}
	return d
}

// or writes a value, or a blank if it is not known.
func (d *draft) or(value string, b Blank) *draft {
	if value != "" {
		return d.put(value)
	}
	d.blanks = append(d.blanks, b)
	return d.put("<", b.Name, ">")
}

func (d *draft) message(name string, bytesMax int) (Message, error) {
	m := Message{Name: name, Text: d.text.String(), Blanks: d.blanks, BytesMax: bytesMax}
	least := len(m.Text)
	for _, b := range m.Blanks {
		least -= len(b.Name) + len("<>")
		m.Bytes += b.CharsMax
	}
	m.Bytes += least
	if bytesMax > 0 && least > bytesMax {
		return m, fmt.Errorf("%s has %d bytes; the network takes %d: shorten the repository's name", name, least, bytesMax)
	}
	return m, nil
}

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	revisionForm   = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
	hotkeyForm     = regexp.MustCompile(`^[1-9A-HJ-NP-Za-km-z]{46,48}$`)
)

// CheckRepository says what is wrong with the name of a repository; the network's limit counts OWNER and
// NAME, and connito's the slash, too. A nil profile knows no limit.
func (p *Profile) CheckRepository(name string) error {
	if !repositoryForm.MatchString(name) {
		return fmt.Errorf("repository %q is not OWNER/NAME in letters, digits, '.', '_' and '-'", name)
	}
	if p == nil || p.Bundle.RepositoryCharsMax == 0 {
		return nil
	}
	n := len(name)
	if p.Bundle.Commit == "sn9" {
		n--
	}
	if n > p.Bundle.RepositoryCharsMax {
		return fmt.Errorf("repository %q has %d characters; the network takes %d", name, n, p.Bundle.RepositoryCharsMax)
	}
	return nil
}

// Check says what is wrong with the form of what is given; it looks at the network's limit on names if
// p is not nil.
func (s Submission) Check(p *Profile) error {
	switch {
	case s.Repository != "" && p.CheckRepository(s.Repository) != nil:
		return p.CheckRepository(s.Repository)
	case s.Revision != "" && !revisionForm.MatchString(s.Revision):
		return fmt.Errorf("revision %q is not 7 to 40 hexadecimal digits of a commit", s.Revision)
	case s.Revision != "" && p != nil && p.Bundle.Commit == "sn9" && len(s.Revision) != revisionChars:
		return fmt.Errorf("revision %q is cut short; the network's message has all %d digits", s.Revision, revisionChars)
	case s.Hotkey != "" && !hotkeyForm.MatchString(s.Hotkey):
		return fmt.Errorf("hotkey %q is no SS58 address of 46 to 48 characters", s.Hotkey)
	case s.Block < 0:
		return errors.New("block is below 0")
	}
	return nil
}

// Messages are the network's messages about an update, none if it has none. Signing and sending them is
// the miner's own software's work. A value of the wrong form, and a message over the network's limit
// however its blanks are filled in, are errors.
func (p *Profile) Messages(s Submission) ([]Message, error) {
	if err := s.Check(p); err != nil {
		return nil, err
	}
	var drafts map[string]*draft
	switch p.Bundle.Commit {
	case "connito":
		drafts = p.connitoMessages(s)
	case "blockzero":
		drafts = blockZeroMessages(s)
	case "blockzero-docs":
		drafts = documentedMessages(s)
	case "sn9":
		drafts = p.subnet9Messages(s)
	}
	var out []Message
	for _, name := range []string{"commit_1", "commit_2", "message"} {
		if d := drafts[name]; d != nil {
			m, err := d.message(name, p.Bundle.CommitBytesMax)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// Blanks that several messages have.
var (
	signatureBlank = Blank{"signature", "the hotkey's sr25519 signature of the hash, URL-safe base64 without padding",
		signatureChars}
	revisionBlank = Blank{"revision", "first 7 digits of the repository's commit", shortRevision}
	blockBlank    = Blank{"block", "number of the block at which the update is committed", blockChars}
	hotkeyBlank   = Blank{"hotkey", "SS58 address of the hotkey", hotkeyChars}
)

func (p *Profile) repositoryBlank() Blank {
	limit := p.Bundle.RepositoryCharsMax
	if limit == 0 {
		limit = repositoryChars
	}
	return Blank{"repository", "OWNER/NAME of the public repository that has the bundle's files", limit}
}

// connitoMessages are those of Connito-AI/Connito 0c936fa, connito/shared/chain.py: json.dumps without spaces.
func (p *Profile) connitoMessages(s Submission) map[string]*draft {
	second := new(draft).put(`{"e":`, strconv.Itoa(s.ID.Group), `,"h":"`, s.Hash, `","v":`, strconv.Itoa(s.ID.Version)).
		put(`,"r":"`).or(s.Repository, p.repositoryBlank()).put(`","rv":"`).
		or(s.Revision[:min(shortRevision, len(s.Revision))], revisionBlank).put(`"}`)
	return map[string]*draft{"commit_1": new(draft).put(`{"m":"`).or("", signatureBlank).put(`"}`), "commit_2": second}
}

// blockZeroMessages are those of CognitoBlocks/BlockZero 907d2e4, mycelia/shared/chain.py: plain json.dumps.
func blockZeroMessages(s Submission) map[string]*draft {
	block := ""
	if s.Block > 0 {
		block = strconv.FormatInt(s.Block, 10)
	}
	second := new(draft).put(`{"b": `).or(block, blockBlank).put(`, "e": `, strconv.Itoa(s.ID.Group)).
		put(`, "m": null, "h": "`, s.Hash, `", "v": `, strconv.Itoa(s.ID.Version), `, "i": `, strconv.Itoa(s.ID.Step), `}`)
	return map[string]*draft{"commit_1": new(draft).put(`{"m": "`).or("", signatureBlank).put(`"}`), "commit_2": second}
}

// documentedMessages is SignedModelSubmitMessage of Block Zero's documentation, protocol/signed-messages,
// which names its members and not how they are written.
func documentedMessages(s Submission) map[string]*draft {
	block := ""
	if s.Block > 0 {
		block = strconv.FormatInt(s.Block, 10)
	}
	d := new(draft).put(`{"hotkey": "`).or(s.Hotkey, hotkeyBlank).put(`", "expert_group": `, strconv.Itoa(s.ID.Group),
		`, "checkpoint_url": "`).or("", Blank{"checkpoint_url", "where the bundle's file is", urlChars}).
		put(`", "block_number": `).or(block, blockBlank).put(`, "signature": "`).
		or("", Blank{"signature", "the hotkey's signature, as the documentation has it ed25519", signatureChars}).put(`"}`)
	return map[string]*draft{"message": d}
}

// subnet9Messages is the metadata line of macrocosm-os/taoverse: namespace:name:commit:secure_hash:competition.
func (p *Profile) subnet9Messages(s Submission) map[string]*draft {
	secure := ""
	if s.Hotkey != "" {
		secure = SecureHash(s.Hash, s.Hotkey)
	}
	d := new(draft).or(strings.Replace(s.Repository, "/", ":", 1), Blank{"namespace:name",
		"OWNER:NAME of the public repository that has the bundle's files", p.repositoryBlank().CharsMax + 1}).put(":").
		or(s.Revision, Blank{"commit", "all 40 digits of the repository's commit", revisionChars}).put(":").
		or(secure, Blank{"secure_hash", "base64 of the SHA-256 of the folder's hash and the hotkey's SS58 address; set hotkey",
			secureHashChars}).put(":", strconv.Itoa(*p.Bundle.Competition))
	return map[string]*draft{"commit_1": d}
}
