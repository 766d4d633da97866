// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkOneDocument refuses content with a second document in it, which the decoder would not look at.
func checkOneDocument(content string) error {
	decoder := yaml.NewDecoder(strings.NewReader(content))
	for first := true; ; first = false {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case first && err != nil:
			return err
		case !first && (err != nil || !isEmpty(&document)):
			return errors.New("there is a second document in it, behind ---, and only the first is read: " +
				"put all into one")
		}
	}
}

// isEmpty says whether a document has nothing in it, as behind a --- that ends a file.
func isEmpty(document *yaml.Node) bool {
	return len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null"
}
