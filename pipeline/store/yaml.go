package store

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
)

// UnmarshalYAML decodes the first YAML document of data into v. A key that v has no
// field for is an error, as is a key given twice. Errors begin with [line:column].
func UnmarshalYAML(data []byte, v any) error {
	return yamlError(yaml.UnmarshalWithOptions(data, v, yaml.Strict()))
}

// UnmarshalYAMLLoose is [UnmarshalYAML] for files that others define: keys that v has no
// field for are passed over.
func UnmarshalYAMLLoose(data []byte, v any) error {
	return yamlError(yaml.UnmarshalWithOptions(data, v))
}

// yamlError keeps the position and message of a parser's error, without its code frame.
func yamlError(err error) error {
	if err == nil {
		return nil
	}
	message, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	return errors.New(message)
}
