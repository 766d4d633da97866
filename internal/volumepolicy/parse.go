// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// formatVersion is the only version of the format (velero v1.18.3, volume_resources_validator.go).
const formatVersion = "v1"

// document is the content of the ConfigMap. A later Velero may have more sections than we know: see Sections.
type document struct {
	Version        string    `yaml:"version"`
	VolumePolicies yaml.Node `yaml:"volumePolicies"`
}

// entry is one element of volumePolicies.
type entry struct {
	Conditions map[string]any `yaml:"conditions"`
	Action     struct {
		Type       ActionType     `yaml:"type"`
		Parameters map[string]any `yaml:"parameters,omitempty"`
	} `yaml:"action"`
}

// Parse reads the volume policies in the ConfigMap that a Backup names in spec.resourcePolicy. It fails, naming the
// ConfigMap, the entry and the field, on what Velero refuses in them, which includes conditions of a later Velero:
// an entry that is half understood would decide differently here and there.
func Parse(configMap *corev1.ConfigMap) (*Policies, error) {
	if configMap == nil {
		return nil, errors.New("reading volume policies: there is no ConfigMap")
	}
	policies, err := parseData(configMap.Data)
	if err != nil {
		return nil, fmt.Errorf("reading volume policies in ConfigMap %s/%s: %w",
			configMap.Namespace, configMap.Name, err)
	}
	return policies, nil
}

func parseData(data map[string]string) (*Policies, error) {
	if len(data) != 1 {
		keys := slices.Sorted(maps.Keys(data))
		return nil, fmt.Errorf("data must have exactly one key, it has %d (%s)", len(keys), strings.Join(keys, ", "))
	}
	for key, content := range data {
		policies, err := parseContent(content)
		if err != nil {
			return nil, fmt.Errorf("data[%s]: %w", key, err)
		}
		return policies, nil
	}
	return nil, nil
}

func parseContent(content string) (*Policies, error) {
	var sections map[string]yaml.Node
	if err := yaml.NewDecoder(strings.NewReader(content)).Decode(&sections); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no YAML document in it")
		}
		return nil, fmt.Errorf("decoding: %w", err)
	}
	var doc document
	if err := yaml.Unmarshal([]byte(content), &doc); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	if doc.Version != formatVersion {
		return nil, fmt.Errorf("version is %q, it must be %q", doc.Version, formatVersion)
	}
	var entries []yaml.Node
	if err := doc.VolumePolicies.Decode(&entries); err != nil && !doc.VolumePolicies.IsZero() {
		return nil, fmt.Errorf("volumePolicies: %w", err)
	}
	others, err := parseSections(sections)
	if err != nil {
		return nil, err
	}
	policies := &Policies{sections: others}
	for i := range entries {
		if entries[i].ShortTag() == "!!null" {
			continue // as the decoder does it for Velero
		}
		parsed, err := parseEntry(&entries[i])
		if err != nil {
			return nil, fmt.Errorf("volumePolicies[%d] (line %d): %w", i, entries[i].Line, err)
		}
		policies.policies = append(policies.policies, parsed)
	}
	return policies, nil
}

func parseEntry(node *yaml.Node) (policy, error) {
	var e entry
	if err := decodeEntry(node, &e); err != nil {
		return policy{}, err
	}
	switch e.Action.Type {
	case ActionSkip, ActionSnapshot, ActionFSBackup, ActionCustom:
	default:
		return policy{}, fmt.Errorf("action.type is %q, it must be one of %s, %s, %s, %s",
			e.Action.Type, ActionSkip, ActionSnapshot, ActionFSBackup, ActionCustom)
	}
	parsed := policy{action: Action{Type: e.Action.Type, Parameters: e.Action.Parameters}}
	for _, name := range slices.Sorted(maps.Keys(e.Conditions)) {
		if err := parsed.conditions.set(name, e.Conditions[name]); err != nil {
			return policy{}, fmt.Errorf("conditions.%s: %w", name, err)
		}
	}
	return parsed, nil
}

// decodeEntry reads an entry and refuses fields that it does not know. A yaml.Node cannot do that by itself, and
// encoding it again would lose aliases of anchors in other entries.
func decodeEntry(node *yaml.Node, e *entry) error {
	var fields map[string]any
	if err := node.Decode(&fields); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != "conditions" && name != "action" {
			return fmt.Errorf("%s: there is no such field", name)
		}
	}
	action, _ := fields["action"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(action)) {
		if name != "type" && name != "parameters" {
			return fmt.Errorf("action.%s: there is no such field", name)
		}
	}
	if err := node.Decode(e); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	return nil
}

// set reads the condition of that name.
func (c *conditions) set(name string, value any) error {
	switch name {
	case "capacity":
		return c.setCapacity(value)
	case "storageClass":
		return recode(value, &c.storageClass)
	case "nfs":
		return recode(value, &c.nfs)
	case "csi":
		return c.setCSI(value)
	case "volumeTypes":
		return recode(value, &c.volumeTypes)
	case "pvcLabels":
		return c.setLabels(value)
	case "pvcPhase":
		return recode(value, &c.pvcPhase)
	case "pvcVolumeMode":
		return c.setVolumeMode(value)
	case "pvcAccessModes":
		return c.setAccessModes(value)
	}
	return errors.New("there is no such condition")
}

func (c *conditions) setCapacity(value any) error {
	var text string
	if err := recode(value, &text); err != nil {
		return err
	}
	parsed, err := parseCapacity(text)
	c.capacity = parsed
	return err
}

func (c *conditions) setCSI(value any) error {
	if err := recode(value, &c.csi); err != nil {
		return err
	}
	if c.csi != nil && c.csi.Driver == "" && c.csi.VolumeAttributes != nil {
		return errors.New("volumeAttributes need a driver")
	}
	return nil
}

func (c *conditions) setLabels(value any) error {
	if _, ok := value.(map[string]any); !ok {
		return fmt.Errorf("it must be a map of strings, not %T", value)
	}
	return recode(value, &c.pvcLabels)
}

func (c *conditions) setVolumeMode(value any) error {
	mode, ok := value.(string)
	if !ok {
		return fmt.Errorf("it must be a string, not %T", value)
	}
	c.volumeMode = mode
	return nil
}

func (c *conditions) setAccessModes(value any) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("it must be a list of strings, not %T", value)
	}
	for i, element := range list {
		mode, ok := element.(string)
		if !ok {
			return fmt.Errorf("element %d must be a string, not %T", i, element)
		}
		c.accessModes = append(c.accessModes, mode)
	}
	return nil
}

// recode writes a value as YAML and reads it into another one, refusing unknown fields. Velero reads conditions in
// these two steps too, which is not the same as one: a label's value 1.0 becomes 1 on the way.
func recode(value, into any) error {
	content, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("decoding: %w", err)
	}
	return nil
}
