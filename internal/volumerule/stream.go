// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkOneDocument refuses content with a second document in it, which the decoder would not look at. What is no YAML is
// for the decoder to tell of.
func checkOneDocument(content string) error {
	decoder := yaml.NewDecoder(strings.NewReader(content))
	var first yaml.Node
	if decoder.Decode(&first) != nil {
		return nil
	}
	for {
		var next yaml.Node
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || !isEmpty(&next) {
			return errors.New("there is a second document in it, behind ---, and only the first is read: put all into one")
		}
	}
}

// isEmpty says whether a document has nothing in it, as behind a --- that ends a file.
func isEmpty(document *yaml.Node) bool {
	return len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null"
}
