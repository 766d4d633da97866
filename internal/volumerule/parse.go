// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"
)

// Keys of the ConfigMap: ours, and the one in which velero-volume-controller keeps its configuration.
const (
	KeyRules    = "rules.yaml"
	KeyOriginal = "config.yml"
)

// document is the content under KeyRules. Rules are read one by one, so that a message can name the rule.
type document struct {
	Rules []json.RawMessage `json:"rules"`
}

// entry is a rule as it is written.
type entry struct {
	Name           string                `json:"name"`
	Action         Action                `json:"action"`
	Namespaces     []string              `json:"namespaces,omitempty"`
	PodSelector    *metav1.LabelSelector `json:"podSelector,omitempty"`
	ClaimSelector  *metav1.LabelSelector `json:"claimSelector,omitempty"`
	Volumes        []string              `json:"volumes,omitempty"`
	VolumeTypes    []string              `json:"volumeTypes,omitempty"`
	StorageClasses []string              `json:"storageClasses,omitempty"`
	Size           *sizeEntry            `json:"size,omitempty"`
	Owners         []ownerEntry          `json:"owners,omitempty"`
}

type sizeEntry struct {
	AtLeast string `json:"atLeast,omitempty"`
	AtMost  string `json:"atMost,omitempty"`
}

type ownerEntry struct {
	Kind  string   `json:"kind"`
	Names []string `json:"names,omitempty"`
}

// Parse reads the rules in a ConfigMap; nil for a ConfigMap that is nil. All that is wrong is told at once, each with
// the rule and the key.
func Parse(configMap *corev1.ConfigMap) (*Rules, error) {
	if configMap == nil {
		return nil, nil //nolint:nilnil // no rules are a nil value: see Rules
	}
	rules, err := parseData(configMap.Data)
	if err != nil {
		return nil, fmt.Errorf("reading the rules in ConfigMap %s/%s: %s",
			configMap.Namespace, configMap.Name, inLine(err))
	}
	return rules, nil
}

// inLine returns the message in one line, for logs and Events, and without the steps in which YAML is decoded.
func inLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		line = strings.ReplaceAll(line, "error unmarshaling JSON: while decoding JSON: ", "")
		lines[i] = strings.TrimSpace(strings.ReplaceAll(line, "error converting YAML to JSON: ", ""))
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}

func parseData(data map[string]string) (*Rules, error) {
	if len(data) != 1 {
		return nil, fmt.Errorf("data must have one of the keys %s and %s and nothing else, it has %d keys (%s)",
			KeyRules, KeyOriginal, len(data), strings.Join(slices.Sorted(maps.Keys(data)), ", "))
	}
	if content, found := data[KeyRules]; found {
		return parseRules(content)
	}
	if content, found := data[KeyOriginal]; found {
		return parseOriginal(content)
	}
	return nil, fmt.Errorf("data has the key %s, it must be %s, or %s for a configuration of velero-volume-controller",
		slices.Collect(maps.Keys(data))[0], KeyRules, KeyOriginal)
}

func parseRules(content string) (*Rules, error) {
	if err := checkOneDocument(content); err != nil {
		return nil, fmt.Errorf("%s: %w", KeyRules, err)
	}
	var doc document
	if err := yaml.UnmarshalStrict([]byte(content), &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", KeyRules, err)
	}
	if len(doc.Rules) == 0 {
		return nil, fmt.Errorf("%s: rules is empty: add a rule, or delete the ConfigMap", KeyRules)
	}
	rules := &Rules{}
	var problems []error
	seen := sets.New[string]()
	for i := range doc.Rules {
		parsed, err := parseRule(doc.Rules[i])
		if parsed.name != "" && seen.Has(parsed.name) {
			err = errors.Join(err, errors.New("name: an earlier rule has it, too"))
		}
		seen.Insert(parsed.name)
		if err != nil {
			problems = append(problems, inRule(i, parsed.name, err))
		}
		rules.rules = append(rules.rules, parsed)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("%s: %w", KeyRules, err)
	}
	return rules, nil
}

// inRule has each line of the message name the rule.
func inRule(index int, name string, err error) error {
	where := fmt.Sprintf("rules[%d]", index)
	if name != "" {
		where = fmt.Sprintf("rules[%d] (%s)", index, name)
	}
	return fmt.Errorf("%s: %s", where, strings.ReplaceAll(err.Error(), "\n", "\n"+where+": "))
}

// parseRule returns the rule and all that is wrong with it. What cannot be decoded has its name all the same.
func parseRule(content json.RawMessage) (rule, error) {
	var e entry
	if err := yaml.UnmarshalStrict(content, &e); err != nil {
		return rule{name: e.Name}, err
	}
	parsed, err := e.parse()
	return parsed, errors.Join(checkEmpty(content), err)
}

// parse returns the rule and all that is wrong with it.
func (e *entry) parse() (rule, error) {
	r := rule{name: e.Name, action: e.Action}
	var problems []error
	if strings.TrimSpace(e.Name) == "" {
		problems = append(problems, errors.New("name: it is empty: messages name the rule by it"))
	}
	if e.Action != Include && e.Action != Exclude {
		problems = append(problems,
			fmt.Errorf("action: it is %q, it must be %s or %s", e.Action, Include, Exclude))
	}
	problems = append(problems, r.setNames(e), r.setSelectors(e), r.setSize(e.Size), r.setOwners(e.Owners))
	return r, errors.Join(problems...)
}

// setNames sets the conditions that are lists of names.
func (r *rule) setNames(e *entry) error {
	var problems [4]error
	r.namespaces, problems[0] = parseGlobs("namespaces", e.Namespaces)
	r.volumes, problems[1] = parseGlobs("volumes", e.Volumes)
	r.storageClasses, problems[2] = parseGlobs("storageClasses", e.StorageClasses)
	r.types, problems[3] = parseTypes("volumeTypes", e.VolumeTypes, false)
	return errors.Join(problems[:]...)
}

func (r *rule) setSelectors(e *entry) error {
	var problems [2]error
	r.podSelector, problems[0] = selector("podSelector", e.PodSelector)
	r.claimSelector, problems[1] = selector("claimSelector", e.ClaimSelector)
	return errors.Join(problems[:]...)
}

func (r *rule) setSize(size *sizeEntry) error {
	if size == nil {
		return nil
	}
	var err error
	if r.atLeast, err = quantity("size.atLeast", size.AtLeast); err != nil {
		return err
	}
	if r.atMost, err = quantity("size.atMost", size.AtMost); err != nil {
		return err
	}
	switch {
	case r.atLeast == nil && r.atMost == nil:
		return errors.New("size: give it atLeast or atMost, such as 10Gi")
	case r.atLeast != nil && r.atMost != nil && r.atLeast.Cmp(*r.atMost) > 0:
		return fmt.Errorf("size: atLeast %s is above atMost %s", size.AtLeast, size.AtMost)
	}
	return nil
}

func (r *rule) setOwners(owners []ownerEntry) error {
	if owners != nil && len(owners) == 0 {
		return errors.New("owners: the list is empty: add an entry, or leave the key out, which means all pods")
	}
	for i, o := range owners {
		if err := checkOwnerKind(o.Kind); err != nil {
			return fmt.Errorf("owners[%d].kind: %w", i, err)
		}
		names, err := parseGlobs(fmt.Sprintf("owners[%d].names", i), o.Names)
		if err != nil {
			return err
		}
		r.owners = append(r.owners, owner{kind: o.Kind, names: names})
	}
	return nil
}

func selector(key string, written *metav1.LabelSelector) (labels.Selector, error) {
	if written == nil {
		return nil, nil //nolint:nilnil // a condition that is not there
	}
	parsed, err := metav1.LabelSelectorAsSelector(written)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return parsed, nil
}

func quantity(key, text string) (*resource.Quantity, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // a bound that is not there
	}
	parsed, err := resource.ParseQuantity(text)
	if err != nil || parsed.Sign() < 0 {
		return nil, fmt.Errorf("%s: %q is no size such as 10Gi", key, text)
	}
	return &parsed, nil
}
