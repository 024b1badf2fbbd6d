package store

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Location is a parsed name of a file or folder that is not local:
//
//	s3://BUCKET/KEY
//	hf://datasets/OWNER/NAME@REVISION/PATH    without @REVISION, main
//	https://HOST/PATH                         and http://
//
// A name holds no secret: no user info, no query, no fragment. An address with a query
// goes by its name without it ([HasQuery]).
type Location struct {
	Scheme   string // s3, hf, https or http
	Root     string // bucket; OWNER/NAME; host with its port
	Revision string // of hf: branch, tag or commit; else empty
	Path     string // below the root, clean, without slashes around it; "" is the root
}

// RemoteSchemes are the schemes of a [Location], for messages.
const RemoteSchemes = "s3://, hf:// and https://"

// hubDatasets begins the names of data sets on the Hugging Face hub.
const hubDatasets = "datasets/"

// IsRemote reports whether a name has a scheme, such as s3://, and so is no local path.
func IsRemote(name string) bool {
	scheme, _, found := strings.Cut(name, "://")
	return found && isScheme(scheme)
}

func isScheme(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return s != ""
}

// ParseLocation takes a remote name apart. Its errors say what to write instead and hold
// no part of the name that could be a secret.
func ParseLocation(name string) (Location, error) {
	scheme, rest, _ := strings.Cut(name, "://")
	for _, r := range rest {
		if r < ' ' || r == 0x7f {
			return Location{}, errors.New("an address holds no control characters; mend it")
		}
	}
	switch scheme {
	case "s3":
		return parseBucket(rest)
	case "hf":
		return parseHub(rest)
	case "https", "http":
		return parseWeb(scheme, rest)
	}
	return Location{}, fmt.Errorf("unknown scheme; names begin with %s, or are local paths", RemoteSchemes)
}

// errUserInfo tells where access data belongs.
func errUserInfo(where string) error {
	return fmt.Errorf("user info (the part before @) does not belong into a plan; remove it and %s", where)
}

func parseBucket(rest string) (Location, error) {
	bucket, key, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(bucket, "@"):
		return Location{}, errUserInfo("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
	case bucket == "" || strings.ContainsAny(bucket, "*?[]{}:\\ "):
		return Location{}, errors.New("names no bucket; write s3://BUCKET/KEY")
	case strings.Contains(key, "?") && strings.Contains(key, "="):
		return Location{}, errors.New("an s3:// name has no query; write s3://BUCKET/KEY, or the whole https:// address")
	}
	p, err := cleanBelow(key)
	return Location{Scheme: "s3", Root: bucket, Path: p}, err
}

func parseHub(rest string) (Location, error) {
	usage := errors.New("write hf://datasets/OWNER/NAME@REVISION/PATH; of the hub, only data sets can be read")
	below, ok := strings.CutPrefix(rest, hubDatasets)
	if !ok {
		if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") && strings.Contains(host, ":") {
			return Location{}, errUserInfo("set HF_TOKEN")
		}
		return Location{}, usage
	}
	owner, below, _ := strings.Cut(below, "/")
	if strings.ContainsAny(owner, "@:") {
		return Location{}, errUserInfo("set HF_TOKEN")
	}
	repo, below, _ := strings.Cut(below, "/")
	repo, revision, pinned := strings.Cut(repo, "@")
	if !isHubName(owner) || !isHubName(repo) || pinned && revision == "" {
		return Location{}, usage
	}
	if revision == "refs" { // refs/convert/parquet, refs/pr/1
		parts := strings.SplitN(below, "/", 3)
		if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
			return Location{}, usage
		}
		revision, below = "refs/"+parts[0]+"/"+parts[1], strings.Join(parts[2:], "/")
	}
	revision, err := url.PathUnescape(revision)
	if err != nil || !isRevision(revision) && pinned {
		return Location{}, errors.New("the part behind @ is no branch, tag or commit; write it with %2F for a slash")
	}
	if !pinned {
		revision = "main"
	}
	p, err := cleanBelow(below)
	return Location{Scheme: "hf", Root: owner + "/" + repo, Revision: revision, Path: p}, err
}

// isHubName reports whether the hub would give an owner or data set this name.
func isHubName(s string) bool {
	return s != "" && !strings.HasPrefix(s, ".") && plainWord(s, "-_.")
}

// isRevision reports whether git would give a branch, tag or commit this name; it becomes
// the name of a file in the cache.
func isRevision(s string) bool {
	return s != "" && plainWord(s, "-_./+#=") && filepath.IsLocal(s) && path.Clean(s) == s
}

func plainWord(s, also string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(also, r) {
			return false
		}
	}
	return true
}

func parseWeb(scheme, rest string) (Location, error) {
	host, p, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(host, "@"):
		return Location{}, errUserInfo("use an address that needs none, such as a presigned one by ${env:NAME}")
	case host == "" || strings.ContainsAny(host, "?#*\\ []") && !strings.HasPrefix(host, "["):
		return Location{}, fmt.Errorf("names no host; write %s://HOST/PATH", scheme)
	case strings.ContainsAny(p, "?#"):
		return Location{}, errors.New("a query or fragment cannot stand here")
	}
	if u, err := url.Parse(scheme + "://" + host + "/"); err != nil || u.Host != host {
		return Location{}, fmt.Errorf("names no host; write %s://HOST/PATH", scheme)
	}
	p, err := cleanBelow(p)
	return Location{Scheme: scheme, Root: host, Path: p}, err
}

// cleanBelow checks a path below a root. Empty and dot components would be lost or lead
// elsewhere where the path is looked up.
func cleanBelow(p string) (string, error) {
	p = strings.TrimRight(p, "/")
	if p == "" {
		return "", nil
	}
	for _, part := range strings.Split(p, "/") {
		if part == "" || part == "." || part == ".." {
			return "", errors.New("an address holds no empty part and no . or ..; write it in full")
		}
	}
	return p, nil
}

// String is the name; [ParseLocation] reads it back.
func (l Location) String() string {
	root := l.Scheme + "://" + l.Root
	if l.Scheme == "hf" {
		revision := l.Revision
		if !isHubRef(revision) {
			revision = strings.ReplaceAll(revision, "/", "%2F")
		}
		root = "hf://" + hubDatasets + l.Root + "@" + revision
	}
	if l.Path == "" {
		return root
	}
	return root + "/" + l.Path
}

// isHubRef reports whether a revision is written with its slashes.
func isHubRef(revision string) bool {
	return strings.HasPrefix(revision, "refs/") && strings.Count(revision, "/") == 2
}

// Join adds the name of an entry to that of its folder, local or remote.
func Join(dir, name string) string {
	if IsRemote(dir) {
		return strings.TrimRight(dir, "/") + "/" + name
	}
	return filepath.Join(dir, name)
}

// Dir is the folder of a name, local or remote.
func Dir(name string) string {
	if IsRemote(name) {
		return name[:max(strings.LastIndexByte(name, '/'), strings.Index(name, "://")+3)]
	}
	return filepath.Dir(name)
}

// relativeTo is the path of a name from a folder above it, with slashes.
func relativeTo(dir, name string) (string, error) {
	if IsRemote(name) {
		rel, below := strings.CutPrefix(name, strings.TrimRight(dir, "/")+"/")
		if !below {
			return "", fmt.Errorf("%s is not below %s", name, dir)
		}
		return rel, nil
	}
	rel, err := filepath.Rel(dir, name)
	return filepath.ToSlash(rel), err
}

// LocationError says that a remote name, or the access that there is to it, is wrong:
// trying again will not help.
type LocationError struct{ Msg string }

// Error is one line: what, where, and what to do.
func (e *LocationError) Error() string { return e.Msg }

// ObjectStore is an [FS] that can also keep files in a remote place. Its [FS] methods read
// remote names, and Remove deletes a remote file.
type ObjectStore interface {
	FS
	// Upload makes a file of the given content and SHA-256 (hexadecimal) appear under a
	// remote name, whole or not at all, in place of an older one.
	Upload(name string, content ReadFile, sha256 string) error
	// UploadedSHA256 returns the hash that Upload was given for a remote file, "" if the
	// file was not made by Upload.
	UploadedSHA256(name string) (string, error)
}
