// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
)

// conditions are the ones of one policy. A zero field sets no condition, so an empty policy matches every volume.
type conditions struct {
	capacity     capacityRange
	storageClass []string
	nfs          *nfsSource
	csi          *csiSource
	volumeTypes  []string
	pvcLabels    map[string]string
	pvcPhase     []string
	volumeMode   string
	accessModes  []string
}

type nfsSource struct {
	Server string `yaml:"server,omitempty"`
	Path   string `yaml:"path,omitempty"`
}

type csiSource struct {
	Driver           string            `yaml:"driver,omitempty"`
	VolumeAttributes map[string]string `yaml:"volumeAttributes,omitempty"`
}

// traits are what conditions look at.
type traits struct {
	capacity     resource.Quantity
	storageClass string
	nfs          *nfsSource
	csi          *csiSource
	volumeType   string
	pvcLabels    map[string]string
	pvcPhase     string
	volumeMode   string
	accessModes  []string
}

func traitsOf(v Volume) traits {
	var t traits
	switch {
	case v.PV != nil:
		t.capacity = *v.PV.Spec.Capacity.Storage()
		t.storageClass = v.PV.Spec.StorageClassName
		t.volumeType = typeOfPersistentVolume(&v.PV.Spec.PersistentVolumeSource)
		t.nfs = nfsOf(v.PV.Spec.NFS)
		if csi := v.PV.Spec.CSI; csi != nil {
			t.csi = &csiSource{Driver: csi.Driver, VolumeAttributes: csi.VolumeAttributes}
		}
	case v.PodVolume != nil:
		t.volumeType = typeOfPodVolume(&v.PodVolume.VolumeSource)
		t.nfs = nfsOf(v.PodVolume.NFS)
		if csi := v.PodVolume.CSI; csi != nil {
			t.csi = &csiSource{Driver: csi.Driver, VolumeAttributes: csi.VolumeAttributes}
		}
	}
	if v.PVC == nil {
		return t
	}
	t.pvcLabels = v.PVC.Labels
	t.pvcPhase = string(v.PVC.Status.Phase)
	if v.PVC.Spec.VolumeMode != nil {
		t.volumeMode = string(*v.PVC.Spec.VolumeMode)
	}
	for _, mode := range v.PVC.Spec.AccessModes {
		t.accessModes = append(t.accessModes, string(mode))
	}
	return t
}

func nfsOf(source *corev1.NFSVolumeSource) *nfsSource {
	if source == nil {
		return nil
	}
	return &nfsSource{Server: source.Server, Path: source.Path}
}

func (c conditions) match(t traits) bool {
	return c.capacity.contains(t.capacity) &&
		(len(c.storageClass) == 0 || t.storageClass != "" && slices.Contains(c.storageClass, t.storageClass)) &&
		c.nfs.match(t.nfs) &&
		c.csi.match(t.csi) &&
		(len(c.volumeTypes) == 0 || slices.Contains(c.volumeTypes, t.volumeType)) &&
		containsAll(t.pvcLabels, c.pvcLabels) &&
		(len(c.pvcPhase) == 0 || t.pvcPhase != "" && slices.Contains(c.pvcPhase, t.pvcPhase)) &&
		(c.volumeMode == "" || t.volumeMode == c.volumeMode) &&
		sameModes(c.accessModes, t.accessModes)
}

// match says whether the volume's source is the wanted one. An empty field of the wanted one is any.
func (wanted *nfsSource) match(source *nfsSource) bool {
	if wanted == nil {
		return true
	}
	return source != nil &&
		(wanted.Server == "" || wanted.Server == source.Server) &&
		(wanted.Path == "" || wanted.Path == source.Path)
}

// match says whether the volume's source is the wanted one, where no driver is any driver.
func (wanted *csiSource) match(source *csiSource) bool {
	if wanted == nil {
		return true
	}
	if source == nil || wanted.Driver == "" {
		return source != nil
	}
	if wanted.Driver != source.Driver {
		return false
	}
	// Velero takes an attribute that is missing for an empty one, unless the volume has none at all.
	if len(wanted.VolumeAttributes) > 0 && len(source.VolumeAttributes) == 0 {
		return false
	}
	for key, value := range wanted.VolumeAttributes {
		if source.VolumeAttributes[key] != value {
			return false
		}
	}
	return true
}

func containsAll(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if got, found := labels[key]; !found || got != value {
			return false
		}
	}
	return true
}

// sameModes says whether a claim has exactly the wanted access modes, in any order. As in Velero, a mode that is
// listed twice counts for the length of the list.
func sameModes(wanted, got []string) bool {
	if len(wanted) == 0 {
		return true
	}
	return len(wanted) == len(got) && sets.New(wanted...).Equal(sets.New(got...))
}

// capacityRange is the condition capacity. A zero upper bound is none.
type capacityRange struct {
	lower, upper resource.Quantity
}

func (r capacityRange) contains(size resource.Quantity) bool {
	atLeast, atMost := r.lower.Cmp(size) <= 0, r.upper.Cmp(size) >= 0
	switch {
	case r.lower.IsZero() && atMost:
		return true
	case r.upper.IsZero() && atLeast:
		return true
	case !r.lower.IsZero() && !r.upper.IsZero():
		return atLeast && atMost
	}
	return false
}

// parseCapacity reads "lower,upper", either of which may be empty.
func parseCapacity(value string) (capacityRange, error) {
	if value == "" {
		return capacityRange{}, nil
	}
	bounds := strings.Split(value, ",")
	if len(bounds) != 2 {
		return capacityRange{}, fmt.Errorf("%q is not a range: write two quantities with a comma between, "+
			"such as \"10Gi,100Gi\" or \"10Gi,\"", value)
	}
	var quantities [2]resource.Quantity
	for i, bound := range bounds {
		bound = strings.TrimSpace(bound)
		if bound == "" {
			continue
		}
		quantity, err := resource.ParseQuantity(bound)
		if err != nil {
			return capacityRange{}, fmt.Errorf("reading the quantity %q: %w", bound, err)
		}
		quantities[i] = quantity
	}
	r := capacityRange{lower: quantities[0], upper: quantities[1]}
	if r.upper.Cmp(r.lower) < 0 && (r.lower.IsZero() || !r.upper.IsZero()) {
		return capacityRange{}, errors.New("the lower bound is above the upper one")
	}
	return r, nil
}
