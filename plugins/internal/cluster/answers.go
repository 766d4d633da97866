// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// answers keeps what was asked on behalf of the latest backup and answered by yes.
type answers struct {
	sync.Mutex

	backup types.UID
	yes    map[string]bool
}

// Once asks a question on behalf of a backup until the answer is yes, which then stays for that backup: what is asked
// is whether there is any pod of a kind. A claim may have hundreds of pods that have ended, for each of which it is
// asked. No stays a question, since the plugin labels claims meanwhile.
func (c *Cluster) Once(backup types.UID, question string, ask func() (bool, error)) (bool, error) {
	if c.answers.known(backup, question) {
		return true, nil
	}
	yes, err := ask()
	if yes && err == nil {
		c.answers.keep(backup, question)
	}
	return yes, err
}

func (a *answers) known(backup types.UID, question string) bool {
	a.Lock()
	defer a.Unlock()
	return a.backup == backup && a.yes[question]
}

func (a *answers) keep(backup types.UID, question string) {
	a.Lock()
	defer a.Unlock()
	if a.backup != backup || a.yes == nil {
		a.backup, a.yes = backup, map[string]bool{}
	}
	a.yes[question] = true
}
