// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package velero

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestAddServerArgument(t *testing.T) {
	const list = `
kind: List
items:
- {kind: Namespace, metadata: {name: velero}}
- kind: Deployment
  spec: {template: {spec: {containers: [{name: velero, args: [server, --features=]}, {name: other, args: [a]}]}}}
`
	tests := map[string]struct {
		manifests string
		want      []any
		fails     string
	}{
		"it comes last": {manifests: list, want: []any{"server", "--features=", "--x=1s"}},
		"it is not given twice": {
			manifests: strings.Replace(list, "--features=", "--x=1s", 1), want: []any{"server", "--x=1s"},
		},
		"a list without the server": {manifests: "{kind: List, items: [{kind: Secret}]}", fails: "no Deployment"},
		"a server without container": {
			manifests: "{kind: List, items: [{kind: Deployment, spec: {}}]}", fails: "no container",
		},
		"text that is no list": {manifests: "Velero is installed!", fails: "reading the installation"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := addServerArguments([]byte(test.manifests), "--x=1s")
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("got %v, want an error with %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var read map[string]any
			if err := yaml.Unmarshal(got, &read); err != nil {
				t.Fatal(err)
			}
			deployment, _ := read["items"].([]any)[1].(map[string]any)
			container, err := firstContainer(deployment)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, container["args"]); diff != "" {
				t.Errorf("arguments differ (-want +got):\n%s", diff)
			}
		})
	}
}
