// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// original is the configuration of velero-volume-controller (v2.0, cmd/controller/velerovolume/config/config.go). Lists
// are texts with commas between their entries.
type original struct {
	// ClusterServer says how that controller reaches the cluster, which is no business of rules.
	ClusterServer any             `json:"clusterServerCfg,omitempty"`
	Volumes       *originalVolume `json:"veleroVolumeCfg"`
}

type originalVolume struct {
	IncludeNamespaces  string `json:"includeNamespaces,omitempty"`
	ExcludeNamespaces  string `json:"excludeNamespaces,omitempty"`
	IncludeVolumeTypes string `json:"includeVolumeTypes,omitempty"`
	ExcludeVolumeTypes string `json:"excludeVolumeTypes,omitempty"`
	ExcludeJobs        string `json:"excludeJobs,omitempty"`
}

// parseOriginal turns the configuration into the rules that do the same: Jobs that it passes over, namespaces that it
// passes over, and all that is included. The controller knew volumes of claims only; any other type that is included
// is taken here, too, since it was asked for.
func parseOriginal(content string) (*Rules, error) {
	if err := checkOneDocument(content); err != nil {
		return nil, fmt.Errorf("%s: %w", KeyOriginal, err)
	}
	var config original
	if err := yaml.UnmarshalStrict([]byte(content), &config); err != nil {
		return nil, fmt.Errorf("%s: %w", KeyOriginal, err)
	}
	if config.Volumes == nil {
		return nil, fmt.Errorf("%s: there is no veleroVolumeCfg: add it, `veleroVolumeCfg: {}` includes the claims of "+
			"all namespaces", KeyOriginal)
	}
	rules, err := config.Volumes.rules()
	if err != nil {
		return nil, fmt.Errorf("%s: veleroVolumeCfg.%w", KeyOriginal, err)
	}
	return rules, nil
}

func (o *originalVolume) rules() (*Rules, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	var problems [4]error
	var excluded, included, jobs globs
	var types []volumeType
	jobs, problems[0] = parseNames("excludeJobs", o.ExcludeJobs)
	excluded, problems[1] = parseNamespaces("excludeNamespaces", o.ExcludeNamespaces)
	included, problems[2] = parseNamespaces("includeNamespaces", o.IncludeNamespaces)
	types, problems[3] = o.types()
	for _, problem := range problems {
		if problem != nil {
			return nil, problem
		}
	}
	rules := &Rules{}
	if len(jobs) > 0 {
		rules.rules = append(rules.rules,
			rule{name: "excludeJobs", action: Pass, owners: []owner{{kind: kindJob, names: jobs}}})
	}
	if len(excluded) > 0 {
		rules.rules = append(rules.rules, rule{name: "excludeNamespaces", action: Pass, namespaces: excluded})
	}
	if len(types) > 0 {
		rules.rules = append(rules.rules,
			rule{name: "includeNamespaces", action: Include, namespaces: included, types: types})
	}
	return rules, nil
}

// validate refuses what the controller refuses, too.
func (o *originalVolume) validate() error {
	switch {
	case o.IncludeNamespaces != "" && o.ExcludeNamespaces != "":
		return errors.New("includeNamespaces and excludeNamespaces exclude each other: leave one of them empty")
	case o.IncludeVolumeTypes != "" && o.ExcludeVolumeTypes != "":
		return errors.New("includeVolumeTypes and excludeVolumeTypes exclude each other: leave one of them empty")
	}
	return nil
}

// types returns the types that are taken: claims, unless the configuration says otherwise.
func (o *originalVolume) types() ([]volumeType, error) {
	include, err := entries("includeVolumeTypes", o.IncludeVolumeTypes)
	if err != nil {
		return nil, err
	}
	if include != nil {
		return parseTypes("includeVolumeTypes", include, true)
	}
	exclude, err := entries("excludeVolumeTypes", o.ExcludeVolumeTypes)
	if err != nil {
		return nil, err
	}
	if _, err := parseTypes("excludeVolumeTypes", exclude, true); err != nil {
		return nil, err
	}
	if slices.Contains(exclude, TypeClaim) {
		return nil, nil
	}
	return parseTypes("", []string{TypeClaim}, false)
}

// parseNamespaces refuses a star, which the controller takes for a part of the name: no pod is in such a namespace.
func parseNamespaces(key, text string) (globs, error) {
	if strings.Contains(text, "*") {
		return nil, fmt.Errorf("%s: %q has a star, and this file's namespaces are names: list them, leave it empty "+
			"for all namespaces, or write rules under the key %s instead", key, text, KeyRules)
	}
	return parseNames(key, text)
}

func parseNames(key, text string) (globs, error) {
	list, err := entries(key, text)
	if err != nil {
		return nil, err
	}
	return parseGlobs(key, list)
}

// entries returns the entries of a list, without the space around them: the controller would look for it in names. It
// refuses a text that has none: for the controller that is a list which nothing is in, and no text at all is no list.
func entries(key, text string) ([]string, error) {
	var list []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			list = append(list, entry)
		}
	}
	if text != "" && list == nil {
		return nil, fmt.Errorf("%s: %q has no entry in it: add one, or leave the text empty", key, text)
	}
	return list, nil
}
