// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package prometheus

import (
	"fmt"
	"strings"
)

// operatorHead stands before the groups of the rules, which make up the spec of the object as they are.
const operatorHead = `# SPDX-License-Identifier: Apache-2.0
#
# Generated from %s by make generate: change that file. spec.ruleSelector and
# spec.ruleNamespaceSelector of your Prometheus must match it: many installations require a label such as release.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: velero-restic
  namespace: velero
  labels:
    component: velero
spec:
`

// Operator returns the PrometheusRule of the Prometheus operator that has the groups of a rule file, comments included.
func Operator(rules string) (string, error) {
	const groups = "\ngroups:\n"
	begin := strings.Index(rules, groups)
	if begin < 0 {
		return "", fmt.Errorf("making a PrometheusRule: the rules have no line %q", strings.TrimSpace(groups))
	}
	var out strings.Builder
	fmt.Fprintf(&out, operatorHead, RulesFile)
	for line := range strings.Lines(rules[begin+1:]) {
		if strings.TrimSpace(line) != "" {
			out.WriteString("  ")
		}
		out.WriteString(line)
	}
	return out.String(), nil
}
