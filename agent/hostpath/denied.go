// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Remedies for an agent that is root and still not let into a volume.
const (
	selinuxRemedy = "SELinux keeps the agent, whose label is %s, out of what belongs to other pods: let it run " +
		"privileged with examples/selinux, or on OpenShift with examples/openshift"
	capabilityRemedy = "the agent is not let in: its container must run as user 0 with at least the capabilities " +
		"DAC_READ_SEARCH and DAC_OVERRIDE, as in examples/base, or privileged where the node asks for it"
)

// Confinement says why this process may be refused a volume although it is root, with the remedy; nothing if no SELinux
// confines it.
func (f Finder) Confinement() string {
	label := f.Label
	if label == nil {
		label = ownLabel
	}
	// user:role:type:level (selinux(8)). Other security modules have other forms, such as "unconfined".
	selinuxLabel := label()
	parts := strings.SplitN(selinuxLabel, ":", 4)
	if len(parts) < 3 {
		return ""
	}
	switch parts[2] {
	case "spc_t", "unconfined_t", "unconfined_service_t":
		return "" // what privileged containers and processes without bounds have
	}
	return fmt.Sprintf(selinuxRemedy, selinuxLabel)
}

// ownLabel is what the security module of the node calls this process; empty without one.
func ownLabel() string {
	content, err := os.ReadFile("/proc/self/attr/current")
	if err != nil {
		return "" // no security module, which the kernel answers with EINVAL
	}
	return strings.TrimRight(string(content), "\x00\n")
}

// explain adds the remedy to an error that says that something is not permitted.
func (f Finder) explain(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if confined := f.Confinement(); confined != "" {
		return fmt.Errorf("%w: %s", err, confined)
	}
	return fmt.Errorf("%w: %s", err, capabilityRemedy)
}
