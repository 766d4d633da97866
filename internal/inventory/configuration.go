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

// configuration is what people have configured: schedules, volume policies, rules and Velero's server. Its lock is the
// inventory's, which callers hold.
type configuration struct {
	world      *world
	schedules  map[string]*velerov1.Schedule
	configMaps map[string]*corev1.ConfigMap
	server     *coverage.Server   // nil until it is known
	read       map[string]reading // volume policies, by the names of their ConfigMaps
	rules      *volumerule.Rules
	rulesError error
	plans      map[string]*coverage.Plan // by schedule
	order      []*coverage.Plan          // sorted by name
}

// reading is what reading volume policies gave.
type reading struct {
	policies *volumepolicy.Policies
	err      error
}

func newConfiguration(w *world) *configuration {
	c := &configuration{
		world: w, schedules: map[string]*velerov1.Schedule{}, configMaps: map[string]*corev1.ConfigMap{},
		plans: map[string]*coverage.Plan{}, read: map[string]reading{},
	}
	w.agentsChanged, w.labelChanged = c.planAll, c.labelChanged
	return c
}

func (c *configuration) sources() coverage.Sources {
	server := *c.server
	server.NodeAgent = len(c.world.nodeAgents) > 0
	return coverage.Sources{
		Server: &server, Policies: c.policies, Rules: c.rules, RulesInvalid: c.rulesError != nil,
		Labeled: slices.Sorted(maps.Keys(c.world.labeled)),
	}
}

// policies returns the volume policies of ConfigMaps, and the same ones until one of them changes.
func (c *configuration) policies(names ...string) (*volumepolicy.Policies, error) {
	key := strings.Join(names, ",")
	known, found := c.read[key]
	if !found {
		known.policies, known.err = c.readPolicies(names)
		c.read[key] = known
	}
	return known.policies, known.err
}

func (c *configuration) readPolicies(names []string) (*volumepolicy.Policies, error) {
	if len(names) == 1 {
		configMap := c.configMaps[names[0]]
		if configMap == nil {
			return nil, fmt.Errorf("there is no ConfigMap %s/%s, which holds its volume policies",
				c.world.namespace, names[0])
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

// forget has volume policies read anew in which a ConfigMap has a part.
func (c *configuration) forget(configMap string) {
	maps.DeleteFunc(c.read, func(key string, _ reading) bool {
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

// plan makes the plan of a schedule anew, and has what it reaches, and has reached, looked at again.
func (c *configuration) plan(name string) {
	if c.server == nil {
		return // everything is planned when it is known
	}
	if before := c.plans[name]; before != nil {
		c.touch(before)
		delete(c.plans, name)
	}
	if schedule := c.schedules[name]; schedule != nil {
		c.plans[name] = coverage.SchedulePlan(schedule, c.sources())
		c.touch(c.plans[name])
	}
	c.order = c.order[:0:0]
	for _, name := range slices.Sorted(maps.Keys(c.plans)) {
		c.order = append(c.order, c.plans[name])
	}
}

func (c *configuration) touch(p *coverage.Plan) {
	for namespace := range c.world.spaces {
		if p.Reaches(namespace) {
			c.world.touchSpace(namespace)
		}
	}
}

// planAll makes all plans anew.
func (c *configuration) planAll() {
	for _, name := range slices.Sorted(maps.Keys(c.schedules)) {
		c.plan(name)
	}
}

// labelChanged plans anew the schedules that name a namespace, which Velero refuses while that is labeled to be left
// out.
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
	c.forget(name)
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

// holdsRules says whether a ConfigMap is the plugin's configuration with rules.
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

// serverChanged takes what is known of Velero's server, and has all decided anew only if that is new.
func (c *configuration) serverChanged(server *coverage.Server) {
	if c.server != nil && reflect.DeepEqual(c.server, server) {
		return
	}
	c.server = server
	c.planAll()
}
