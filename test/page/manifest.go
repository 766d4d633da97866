// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// manifest applies a block of YAML to the API server with strict validation. It builds a kustomization first. It only
// decodes volume policies and pieces of larger documents.
func (r *run) manifest(ctx context.Context, block Block, text string) error {
	mode := "--dry-run=server"
	for _, piece := range r.guide.Apply {
		if strings.Contains(block.Text, piece) {
			r.used["apply "+piece], mode = true, ""
		}
	}
	var object map[string]any
	first, _, _ := strings.Cut(text, "\n---\n")
	if err := yaml.UnmarshalStrict([]byte(first), &object); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	file := filepath.Join(r.workspace.folder, fmt.Sprintf("manifest-%d.yaml", block.Line))
	script := fmt.Sprintf("kubectl apply --validate=strict %s -f %q", mode, file)
	switch {
	case object["kind"] == "Kustomization":
		// On the page, the file is next to the clone of the repository.
		file = filepath.Join(r.workspace.folder, "kustomization.yaml")
		script = fmt.Sprintf("kubectl kustomize %q | kubectl apply --validate=strict %s -f -", r.workspace.folder, mode)
	case object["volumePolicies"] != nil:
		return checkPolicy(text)
	case object["kind"] == nil:
		return nil
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return r.script(ctx, block, script)
}

func checkPolicy(text string) error {
	policy := &corev1.ConfigMap{Data: map[string]string{"policies.yaml": text}}
	if _, err := volumepolicy.Parse(policy); err != nil {
		return fmt.Errorf("reading the volume policy: %w", err)
	}
	return nil
}

func checkJSON(text string) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("reading the JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading the JSON: it has more than one value")
	}
	return nil
}
