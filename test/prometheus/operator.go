// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package prometheus

import (
	"fmt"
	"strings"
)

// operatorHead comes before the groups of the rules. The unchanged groups are the spec of the object.
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

// Operator returns a PrometheusRule for the Prometheus operator with the groups of a rule file, including comments. It
// fails if the rules have no groups.
func Operator(rules string) (string, error) {
	const groups = "\ngroups:\n"
	begin := strings.Index(rules, groups)
	if begin < 0 {
		return "", fmt.Errorf("generating a PrometheusRule: the rules have no line %q", strings.TrimSpace(groups))
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
