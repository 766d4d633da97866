// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/cmd/util/flag"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// filter has the flags of `velero backup create` that select volumes. Names, formats and defaults are Velero's
// (velero v1.18.3, pkg/cmd/cli/backup/create.go).
type filter struct {
	schedule                               string
	includeNamespaces, excludeNamespaces   flag.StringArray
	includeResources, excludeResources     flag.StringArray
	includeClusterScoped                   flag.StringArray
	excludeClusterScoped                   flag.StringArray
	includeNamespaced, excludeNamespaced   flag.StringArray
	selector                               flag.LabelSelector
	orSelector                             flag.OrLabelSelector
	clusterResources                       flag.OptionalBool
	snapshotVolumes, moveData, defaultToFS flag.OptionalBool
	location                               string
	snapshotLocations                      []string
	policies                               string

	// own has the flags above as registered.
	own *pflag.FlagSet
}

// fromSchedule is the name of the flag that replaces all others.
const fromSchedule = "from-schedule"

// addFlags registers the flags.
func (f *filter) addFlags(to *pflag.FlagSet) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.includeNamespaces = flag.NewStringArray("*")
	flags.StringVar(&f.schedule, fromSchedule, "", "the next backup of this schedule; replaces the other flags")
	flags.Var(&f.includeNamespaces, "include-namespaces", "namespaces in the backup")
	flags.Var(&f.excludeNamespaces, "exclude-namespaces", "namespaces not in the backup")
	flags.Var(&f.includeResources, "include-resources", "resources in the backup, such as pods")
	flags.Var(&f.excludeResources, "exclude-resources", "resources not in the backup")
	flags.Var(&f.includeClusterScoped, "include-cluster-scoped-resources",
		"cluster-scoped resources in the backup")
	flags.Var(&f.excludeClusterScoped, "exclude-cluster-scoped-resources", "cluster-scoped resources not in the backup")
	flags.Var(&f.includeNamespaced, "include-namespace-scoped-resources", "namespace-scoped resources in the backup")
	flags.Var(&f.excludeNamespaced, "exclude-namespace-scoped-resources", "namespace-scoped resources not in the "+
		"backup")
	flags.VarP(&f.selector, "selector", "l", "only objects with these labels")
	flags.Var(&f.orSelector, "or-selector",
		"only objects that match one of several selectors, separated by ' or '")
	flags.StringVar(&f.location, "storage-location", "", "storage location of the backup")
	flags.StringSliceVar(&f.snapshotLocations, "volume-snapshot-locations", nil, "where snapshots are stored")
	flags.StringVar(&f.policies, "resource-policies-configmap", "", "ConfigMap with the volume policies of the backup")
	for name, optional := range map[string]struct {
		value *flag.OptionalBool
		usage string
	}{
		"include-cluster-resources":    {&f.clusterResources, "include cluster-scoped resources"},
		"snapshot-volumes":             {&f.snapshotVolumes, "take snapshots"},
		"snapshot-move-data":           {&f.moveData, "move the data of snapshots"},
		"default-volumes-to-fs-backup": {&f.defaultToFS, "back up all volumes that no pod excludes"},
	} {
		flags.VarPF(optional.value, name, "", optional.usage).NoOptDefVal = "true"
	}
	f.own = flags
	to.AddFlagSet(flags)
}

// conflicting returns the first given flag that cannot be combined with --from-schedule; "" if there is none.
func (f *filter) conflicting() string {
	first := ""
	f.own.VisitAll(func(each *pflag.Flag) {
		if first == "" && each.Changed && each.Name != fromSchedule {
			first = each.Name
		}
	})
	return first
}

// request returns the request for the flags and the argument NAMESPACE or NAMESPACE/POD.
func (f *filter) request(argument string) (inventory.PlanRequest, error) {
	var none inventory.PlanRequest
	namespace, pod, given := strings.Cut(argument, "/")
	if namespace == "" || given && pod == "" || strings.Contains(pod, "/") {
		return none, command.UsageError(fmt.Errorf("%q is neither NAMESPACE nor NAMESPACE/POD", argument))
	}
	request := inventory.PlanRequest{Namespace: namespace, Pod: pod, Schedule: strings.TrimSpace(f.schedule)}
	if f.own.Lookup(fromSchedule).Changed {
		if request.Schedule == "" {
			return none, command.UsageError(errors.New("--from-schedule names no schedule"))
		}
		if name := f.conflicting(); name != "" {
			return none, command.UsageError(fmt.Errorf("--from-schedule and --%s cannot be used together: the "+
				"schedule "+
				"has all settings of its backups", name))
		}
		return request, nil
	}
	if err := f.validate(); err != nil {
		return none, command.UsageError(err)
	}
	request.Spec = f.spec()
	return request, nil
}

// validate returns an error for flags that `velero backup create` rejects.
func (f *filter) validate() error {
	if f.selector.LabelSelector != nil && len(f.orSelector.OrLabelSelectors) > 0 {
		return errors.New("--selector and --or-selector cannot be used together")
	}
	old := len(f.includeResources)+len(f.excludeResources) > 0 || f.clusterResources.Value != nil
	if old && len(slices.Concat(f.includeClusterScoped, f.excludeClusterScoped, f.includeNamespaced,
		f.excludeNamespaced)) > 0 {
		return errors.New("--include-resources, --exclude-resources and --include-cluster-resources cannot be used " +
			"together with the flags for cluster-scoped and namespace-scoped resources")
	}
	return nil
}

func (f *filter) spec() velerov1.BackupSpec {
	spec := velerov1.BackupSpec{
		IncludedNamespaces: f.includeNamespaces, ExcludedNamespaces: f.excludeNamespaces,
		IncludedResources: f.includeResources, ExcludedResources: f.excludeResources,
		IncludedClusterScopedResources: f.includeClusterScoped, ExcludedClusterScopedResources: f.excludeClusterScoped,
		IncludedNamespaceScopedResources: f.includeNamespaced, ExcludedNamespaceScopedResources: f.excludeNamespaced,
		LabelSelector: f.selector.LabelSelector, OrLabelSelectors: f.orSelector.OrLabelSelectors,
		StorageLocation: f.location, VolumeSnapshotLocations: f.snapshotLocations,
		IncludeClusterResources: f.clusterResources.Value, SnapshotVolumes: f.snapshotVolumes.Value,
		SnapshotMoveData: f.moveData.Value, DefaultVolumesToFsBackup: f.defaultToFS.Value,
	}
	if f.policies != "" {
		spec.ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: f.policies}
	}
	return spec
}
