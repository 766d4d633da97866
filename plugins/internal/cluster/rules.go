// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// Rules are the rules that select volumes, as one backup goes by them.
type Rules struct {
	// Rules are nil when there are none, and when they cannot be read.
	Rules *volumerule.Rules
	// Invalid says why they cannot be read; it names the ConfigMap, the rule and the key.
	Invalid error
	// ConfigMap is the name of the ConfigMap that has them, empty without one.
	ConfigMap string
}

// rulesOf keeps the rules of the latest backup that asked for them.
type rulesOf struct {
	sync.Mutex

	backup types.UID
	rules  *Rules
	// warning is for people and waits to be told.
	warning string
}

// RulesOf returns the rules for a backup. They are read once for each: all its pods go by the same, whatever becomes of
// the ConfigMap meanwhile. The error is the API server's, and the next call asks again.
func (c *Cluster) RulesOf(backup types.UID) (*Rules, error) {
	c.rules.Lock()
	defer c.rules.Unlock()
	if c.rules.rules != nil && c.rules.backup == backup {
		return c.rules.rules, nil
	}
	configMap, warning, err := c.PluginConfig(contract.PluginKindBackup)
	if err != nil {
		return nil, err
	}
	read := &Rules{}
	if configMap != nil {
		read.ConfigMap = configMap.Name
		read.Rules, read.Invalid = volumerule.Parse(configMap)
	}
	c.rules.backup, c.rules.rules, c.rules.warning = backup, read, warning
	return read, nil
}

// WarnOfRules returns what people are to be told of where rules come from, once for each backup, and empty after that.
func (c *Cluster) WarnOfRules(backup types.UID) string {
	c.rules.Lock()
	defer c.rules.Unlock()
	if c.rules.backup != backup {
		return ""
	}
	warning := c.rules.warning
	c.rules.warning = ""
	return warning
}
