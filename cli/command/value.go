// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"
)

// PrintValue prints a value that is not a Kubernetes object as JSON or YAML, with kubectl's indentation.
func (o *Output) PrintValue(env *Environment, value any) error {
	text, err := json.MarshalIndent(value, "", "    ")
	if err == nil && o.Format == FormatYAML {
		text, err = yaml.JSONToYAML(text)
	} else {
		text = append(text, '\n')
	}
	if err != nil {
		return fmt.Errorf("encoding the output: %w", err)
	}
	if _, err := env.Out.Write(text); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}
