// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"
)

// PrintValue writes an answer that is no object of Kubernetes as JSON or YAML, by its JSON names, and indented as
// kubectl does.
func (o *Output) PrintValue(env *Environment, value any) error {
	text, err := json.MarshalIndent(value, "", "    ")
	if err == nil && o.Format == FormatYAML {
		text, err = yaml.JSONToYAML(text)
	} else {
		text = append(text, '\n')
	}
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	if _, err := env.Out.Write(text); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}
