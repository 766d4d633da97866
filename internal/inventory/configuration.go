// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// configuration has the schedules, volume policies, rules and Velero's server. Callers hold the inventory's lock.
type configuration struct {
	clusterState *clusterState
	schedules    map[string]*velerov1.Schedule
	configMaps   map[string]*corev1.ConfigMap
	server       *coverage.Server          // nil until it was read
	parsed       map[string]parsedPolicies // by the comma-separated names of their ConfigMaps
	rules        *volumerule.Rules
	rulesError   error
	plans        map[string]*coverage.Plan // by schedule
	sortedPlans  []*coverage.Plan          // sorted by name
}

// parsedPolicies is the result of parsing volume policies.
type parsedPolicies struct {
	policies *volumepolicy.Policies
	err      error
}

func newConfiguration(w *clusterState) *configuration {
	c := &configuration{
		clusterState: w, schedules: map[string]*velerov1.Schedule{}, configMaps: map[string]*corev1.ConfigMap{},
		plans: map[string]*coverage.Plan{}, parsed: map[string]parsedPolicies{},
	}
	w.agentsChanged, w.labelChanged = c.planAll, c.labelChanged
	return c
}

func (c *configuration) sources() coverage.Sources {
	server := *c.server
	server.NodeAgent = len(c.clusterState.nodeAgents) > 0
	return coverage.Sources{
		Server: &server, Policies: c.policies, Rules: c.rules, RulesInvalid: c.rulesError != nil,
		Labeled: slices.Sorted(maps.Keys(c.clusterState.labeled)),
	}
}

// policies returns the merged volume policies of ConfigMaps. It returns the same pointer until one of them changes.
func (c *configuration) policies(names ...string) (*volumepolicy.Policies, error) {
	key := strings.Join(names, ",")
	known, found := c.parsed[key]
	if !found {
		known.policies, known.err = c.readPolicies(names)
		c.parsed[key] = known
	}
	return known.policies, known.err
}

func (c *configuration) readPolicies(names []string) (*volumepolicy.Policies, error) {
	if len(names) == 1 {
		configMap := c.configMaps[names[0]]
		if configMap == nil {
			return nil, fmt.Errorf("there is no ConfigMap %s/%s with its volume policies",
				c.clusterState.namespace, names[0])
		}
		return volumepolicy.Parse(configMap)
	}
	var all []*volumepolicy.Policies
	for _, name := range names {
		one, err := c.policies(name)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return volumepolicy.Merge(all...), nil
}

// invalidate removes the parsed policies that include a ConfigMap.
func (c *configuration) invalidate(configMap string) {
	maps.DeleteFunc(c.parsed, func(key string, _ parsedPolicies) bool {
		return slices.Contains(strings.Split(key, ","), configMap)
	})
}

func (c *configuration) scheduleChanged(before, after *velerov1.Schedule) {
	if after != nil {
		c.schedules[after.Name] = after
		c.plan(after.Name)
		return
	}
	delete(c.schedules, before.Name)
	c.plan(before.Name)
}

// plan replaces the plan of a schedule, and marks the claims in its former and in its new scope.
func (c *configuration) plan(name string) {
	if c.server == nil {
		return // serverChanged creates all plans
	}
	if before := c.plans[name]; before != nil {
		c.markDirty(before)
		delete(c.plans, name)
	}
	if schedule := c.schedules[name]; schedule != nil {
		c.plans[name] = coverage.SchedulePlan(schedule, c.sources())
		c.markDirty(c.plans[name])
	}
	c.sortedPlans = c.sortedPlans[:0:0]
	for _, name := range slices.Sorted(maps.Keys(c.plans)) {
		c.sortedPlans = append(c.sortedPlans, c.plans[name])
	}
}

func (c *configuration) markDirty(p *coverage.Plan) {
	for namespace := range c.clusterState.namespaces {
		if p.IncludesNamespace(namespace) {
			c.clusterState.markNamespaceDirty(namespace)
		}
	}
}

// planAll replaces all plans.
func (c *configuration) planAll() {
	for _, name := range slices.Sorted(maps.Keys(c.schedules)) {
		c.plan(name)
	}
}

// labelChanged replaces the plans of schedules that name a namespace, because Velero rejects them while the namespace
// has the label that excludes it.
func (c *configuration) labelChanged(namespace string) {
	for _, name := range slices.Sorted(maps.Keys(c.schedules)) {
		if slices.Contains(c.schedules[name].Spec.Template.IncludedNamespaces, namespace) {
			c.plan(name)
		}
	}
}

func (c *configuration) configMapChanged(before, after *corev1.ConfigMap) {
	name := ""
	if after != nil {
		name = after.Name
		c.configMaps[name] = after
	} else {
		name = before.Name
		delete(c.configMaps, name)
	}
	c.invalidate(name)
	if holdsRules(before) || holdsRules(after) {
		c.readRules()
		c.planAll()
		return
	}
	for _, schedule := range slices.Sorted(maps.Keys(c.plans)) {
		if c.plans[schedule].UsesPolicies(name) {
			c.plan(schedule)
		}
	}
}

// holdsRules returns whether a ConfigMap is the plugin's configuration with rules.
func holdsRules(c *corev1.ConfigMap) bool {
	return c != nil && pluginconfig.Selector(contract.PluginKindBackup).Matches(labels.Set(c.Labels))
}

// readRules reads the rules as the plugin does.
func (c *configuration) readRules() {
	var found []corev1.ConfigMap
	for _, configMap := range c.configMaps {
		if holdsRules(configMap) {
			found = append(found, *configMap)
		}
	}
	used, _ := pluginconfig.Choose(found)
	c.rules, c.rulesError = volumerule.Parse(used)
}

// serverChanged sets Velero's server, and replaces all plans if it changed.
func (c *configuration) serverChanged(server *coverage.Server) {
	if c.server != nil && reflect.DeepEqual(c.server, server) {
		return
	}
	c.server = server
	c.planAll()
}
