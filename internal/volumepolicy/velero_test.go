// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/kuberesource"
	"github.com/vmware-tanzu/velero/pkg/plugin/utils/volumehelper"
	vhutil "github.com/vmware-tanzu/velero/pkg/util/volumehelper"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// The tests of this file hold Match against Velero's own code, through the helper that it gives to plugins.

// accepted are documents that Velero accepts. Each is compared on each volume with each action, so that none is there
// that never matches: the last test sees to that.
var accepted = map[string]string{
	"no condition":                "{}",
	"null conditions":             "null",
	"up to a size":                `{capacity: ",10Gi"}`,
	"from a size":                 `{capacity: "10Gi,"}`,
	"from one size to another":    `{capacity: " 5Gi , 10Gi "}`,
	"exactly a size":              `{capacity: "10Gi,10Gi"}`,
	"any size":                    `{capacity: ","}`,
	"zero sizes":                  `{capacity: "0,0"}`,
	"null size":                   `{capacity: null}`,
	"a class":                     "{storageClass: [gold]}",
	"two classes":                 "{storageClass: [silver, bronze]}",
	"the empty class":             `{storageClass: [""]}`,
	"any nfs":                     "{nfs: {}}",
	"nfs with null":               "{nfs: null}",
	"a server":                    "{nfs: {server: a.example}}",
	"a path":                      "{nfs: {path: /one}}",
	"a server and a path":         "{nfs: {server: a.example, path: /two}}",
	"any csi":                     "{csi: {}}",
	"a driver":                    "{csi: {driver: one.csi}}",
	"a driver and attribute":      "{csi: {driver: one.csi, volumeAttributes: {tier: fast}}}",
	"a driver, empty attribute":   `{csi: {driver: one.csi, volumeAttributes: {absent: ""}}}`,
	"a driver, no attributes":     "{csi: {driver: one.csi, volumeAttributes: {}}}",
	"a type":                      "{volumeTypes: [emptyDir]}",
	"types with nfs":              "{volumeTypes: [nfs, csi, local]}",
	"a type that nothing has":     `{volumeTypes: [""]}`,
	"every named type":            "{volumeTypes: [awsElasticBlockStore, azureDisk, azureFile, cephfs, cinder, fc, flocker, flexVolume, gcePersistentDisk, gitRepo, glusterfs, iscsi, photonPersistentDisk, portworxVolume, quobyte, rbd, scaleIO, storageOS, vsphereVolume, ephemeral]}",
	"a label":                     "{pvcLabels: {app: db}}",
	"two labels":                  "{pvcLabels: {app: db, restic.velero.io/backup: \"true\"}}",
	"a label with an empty value": `{pvcLabels: {absent: ""}}`,
	"a label that is a bool":      "{pvcLabels: {flag: true}}",
	"a label that is a number":    "{pvcLabels: {version: 1.0}}",
	"no label in a map":           "{pvcLabels: {}}",
	"a phase":                     "{pvcPhase: [Bound]}",
	"phases of lost claims":       "{pvcPhase: [Pending, Lost]}",
	"the empty phase":             `{pvcPhase: [""]}`,
	"the mode block":              "{pvcVolumeMode: Block}",
	"the empty mode":              `{pvcVolumeMode: ""}`,
	"an access mode":              "{pvcAccessModes: [ReadWriteOnce]}",
	"access modes in any order":   "{pvcAccessModes: [ReadOnlyMany, ReadWriteOnce]}",
	"an access mode twice":        "{pvcAccessModes: [ReadWriteOnce, ReadWriteOnce]}",
	"no access mode":              "{pvcAccessModes: []}",
	"several conditions":          `{capacity: "1Gi,", storageClass: [gold], csi: {driver: one.csi}, pvcLabels: {app: db}}`,
	"several that exclude":        "{volumeTypes: [nfs], csi: {}}",
	"a type and a phase":          "{volumeTypes: [local], pvcPhase: [Bound]}",
}

// sample is a volume as it stands in the API.
type sample struct {
	source corev1.VolumeSource
	claim  *corev1.PersistentVolumeClaim
	volume *corev1.PersistentVolume
}

func inline(source corev1.VolumeSource) sample { return sample{source: source} }

// bound returns a volume with a claim that is bound to a PersistentVolume with that source.
func bound(class, size string, source corev1.PersistentVolumeSource, change func(*corev1.PersistentVolumeClaim)) sample {
	s := unbound(corev1.ClaimBound, change)
	s.claim.Spec.VolumeName = "pv"
	s.volume = &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec:       corev1.PersistentVolumeSpec{StorageClassName: class, PersistentVolumeSource: source},
	}
	if size != "" {
		s.volume.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	}
	return s
}

func unbound(phase corev1.PersistentVolumeClaimPhase, change func(*corev1.PersistentVolumeClaim)) sample {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "app", Name: "claim"},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: phase},
	}
	if change != nil {
		change(claim)
	}
	return sample{
		source: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}},
		claim:  claim,
	}
}

func withLabels(labels map[string]string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Labels = labels }
}

func withModes(mode corev1.PersistentVolumeMode, access ...corev1.PersistentVolumeAccessMode) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode, c.Spec.AccessModes = &mode, access }
}

func csiVolume(driver string, attributes map[string]string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeAttributes: attributes}}
}

var ( // the sources under test
	fast      = map[string]string{"tier": "fast"}
	nfsServer = &corev1.NFSVolumeSource{Server: "a.example", Path: "/one"}
	nfsOther  = &corev1.NFSVolumeSource{Server: "b.example", Path: "/two"}
	local     = corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/disk"}}
)

// samples has the volumes that policies tell apart; TestMatchByType adds every type.
var samples = map[string]sample{
	"an emptyDir":                   inline(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
	"an inline nfs":                 inline(corev1.VolumeSource{NFS: nfsServer}),
	"another inline nfs":            inline(corev1.VolumeSource{NFS: nfsOther}),
	"an inline csi":                 inline(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "one.csi", VolumeAttributes: fast}}),
	"another inline csi":            inline(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "two.csi"}}),
	"a generic ephemeral volume":    inline(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}),
	"an image":                      inline(corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}),
	"a local volume":                bound("gold", "10Gi", local, nil),
	"a local volume without a size": bound("", "", local, nil),
	"a small csi volume":            bound("gold", "1Gi", csiVolume("one.csi", fast), withLabels(map[string]string{"app": "db"})),
	"a csi volume of 5Gi":           bound("silver", "5Gi", csiVolume("one.csi", nil), withLabels(map[string]string{"app": "db", "restic.velero.io/backup": "true"})),
	"a csi volume of 10Gi":          bound("bronze", "10Gi", csiVolume("two.csi", fast), withLabels(map[string]string{"flag": "true", "version": "1"})),
	"a csi volume of 10Gi and more": bound("bronze", "10241Mi", csiVolume("one.csi", map[string]string{"tier": "slow"}), withLabels(map[string]string{"absent": "", "version": "1.0"})),
	"a nfs volume":                  bound("nfs", "8Gi", corev1.PersistentVolumeSource{NFS: nfsServer}, withModes(corev1.PersistentVolumeFilesystem, corev1.ReadWriteMany)),
	"another nfs volume":            bound("", "8Gi", corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "a.example", Path: "/two"}}, withModes(corev1.PersistentVolumeFilesystem, corev1.ReadWriteOnce, corev1.ReadOnlyMany)),
	"a block volume":                bound("gold", "3Gi", csiVolume("one.csi", nil), withModes(corev1.PersistentVolumeBlock, corev1.ReadWriteOnce)),
	"a claim that waits":            unbound(corev1.ClaimPending, withLabels(map[string]string{"app": "db"})),
	"a claim that lost its volume":  unbound(corev1.ClaimLost, withModes(corev1.PersistentVolumeFilesystem, corev1.ReadWriteOnce)),
	"a claim without a phase":       unbound("", nil),
}

// helperFor builds Velero's helper over a cluster that has the policies and the volume.
func helperFor(t *testing.T, content string, s sample) (vhutil.VolumeHelper, error) {
	t.Helper()
	objects := []client.Object{configMap(content)}
	if s.claim != nil {
		objects = append(objects, s.claim.DeepCopy())
	}
	if s.volume != nil {
		objects = append(objects, s.volume.DeepCopy())
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	backup := velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "backup"}}
	backup.Spec.ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "policies"}
	return volumehelper.NewVolumeHelperWithCache(backup, fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), log, nil)
}

// matchOf returns what Match says of the sample, given to it as this package asks for it.
func matchOf(t *testing.T, content string, s sample) (Action, bool) {
	t.Helper()
	policies, err := Parse(configMap(content))
	if err != nil {
		t.Fatalf("Parse refuses what Velero accepts: %v", err)
	}
	return policies.Match(Volume{PodVolume: &corev1.Volume{Name: "data", VolumeSource: s.source}, PVC: s.claim, PV: s.volume})
}

// sameAsVelero compares Match with Velero for a document and a volume, and returns whether a policy matched.
func sameAsVelero(t *testing.T, content string, s sample) bool {
	t.Helper()
	helper, err := helperFor(t, content, s)
	if err != nil {
		t.Fatalf("Velero refuses the policies: %v\n%s", err, content)
	}
	action, found := matchOf(t, content, s)

	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "app", Name: "pod"}}
	want, err := helper.ShouldPerformFSBackup(corev1.Volume{Name: "data", VolumeSource: s.source}, pod)
	claimLost := s.claim != nil && s.volume == nil
	if (err != nil) != (claimLost && !found) { // Velero fails on a claim without a volume that no policy matches
		t.Errorf("Velero says %v, Match finds %v", err, found)
	}
	if got := found && action.Type == ActionFSBackup; got != want {
		t.Errorf("file-system backup is %v, Velero says %v", got, want)
	}
	if s.claim != nil {
		compareForClaim(t, helper, s, action, found)
	}
	return found
}

// compareForClaim compares what only claims can be asked for: the action itself, and its parameters.
func compareForClaim(t *testing.T, helper vhutil.VolumeHelper, s sample, action Action, found bool) {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s.claim)
	if err != nil {
		t.Fatal(err)
	}
	claim := &unstructured.Unstructured{Object: object}
	for _, parameters := range []map[string]any{nil, {ParameterUploader: UploaderRestic}} {
		want, err := helper.ShouldPerformCustomAction(claim, kuberesource.PersistentVolumeClaims, parameters)
		if err != nil {
			t.Fatal(err)
		}
		got := found && action.Type == ActionCustom && (parameters == nil || action.ForRestic())
		if got != want {
			t.Errorf("custom action with %v is %v, Velero says %v", parameters, got, want)
		}
	}
	if s.volume == nil {
		return // Velero gives no parameters then
	}
	wantFound, wantType, wantParameters, err := helper.GetActionParameters(claim, kuberesource.PersistentVolumeClaims)
	if err != nil {
		t.Fatal(err)
	}
	if wantFound != found || wantType != string(action.Type) || fmt.Sprint(wantParameters) != fmt.Sprint(action.Parameters) {
		t.Errorf("got %v, %v, Velero says %v, %v, %v", found, action, wantFound, wantType, wantParameters)
	}
}

// document returns the policies with one entry, behind one that never matches.
func oneEntry(conditions, action string) string {
	return "version: v1\nincludeExcludePolicy: {excludedNamespaceScopedResources: [secrets]}\nvolumePolicies:\n" +
		"- conditions: {storageClass: [none-has-this]}\n  action: {type: skip}\n" +
		"- conditions: " + conditions + "\n  action: " + action + "\n"
}

func TestMatchAgreesWithVelero(t *testing.T) {
	for policy, conditions := range accepted {
		t.Run(policy, func(t *testing.T) {
			for volume, s := range samples {
				for _, action := range []string{
					"{type: fs-backup}", "{type: custom, parameters: {uploader: restic, level: 1.0}}", "{type: custom}",
				} {
					t.Run(volume+" "+action, func(t *testing.T) { sameAsVelero(t, oneEntry(conditions, action), s) })
				}
			}
		})
	}
}

// TestMatchTakesTheFirst puts two entries in either order, of which some volumes match one, both or none.
func TestMatchTakesTheFirst(t *testing.T) {
	entries := []string{
		"- &first\n  conditions: &shared {capacity: \"4Gi,\"}\n  action: {type: fs-backup}\n",
		"- conditions: {storageClass: [gold, nfs]}\n  action: {type: custom, parameters: {uploader: restic}}\n",
	}
	for volume, s := range samples {
		t.Run(volume, func(t *testing.T) {
			sameAsVelero(t, "version: v1\nvolumePolicies:\n"+entries[0]+entries[1], s)
			sameAsVelero(t, "version: v1\nvolumePolicies:\n"+entries[1]+entries[0], s)
			sameAsVelero(t, "version: v1\nvolumePolicies:\n"+entries[0]+
				"- null\n-\n- conditions: *shared\n  action: {type: custom}\n- *first\n", s)
		})
	}
}

// TestMatchByType compares every type of volume, in pods and behind claims, with an entry for each type's name.
func TestMatchByType(t *testing.T) {
	names := strings.Fields("awsAzureDisk awsElasticBlockStore azureDisk azureFile cinder cephfs configMap csi " +
		"downwardAPI emptyDir ephemeral fc flocker flexVolume gitRepo glusterfs gcePersistentDisk hostPath iscsi " +
		"local nfs photonPersistentDisk portworxVolume projected quobyte rbd scaleIO secret storageOS vsphereVolume")
	for _, s := range everyType() {
		matches := map[string]bool{}
		for _, name := range names {
			if sameAsVelero(t, oneEntry("{volumeTypes: ["+name+"]}", "{type: fs-backup}"), s) {
				matches[name] = true
			}
		}
		if got := (Volume{PodVolume: &corev1.Volume{VolumeSource: s.source}, PV: s.volume}).Type(); !matches[got] || len(matches) != 1 {
			t.Errorf("type is %q, the condition has %v", got, matches)
		}
	}
}

// everyType returns a volume of each type that has a name and that core looks at.
func everyType() []sample {
	all := []corev1.VolumeSource{
		{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{}},
		{AzureDisk: &corev1.AzureDiskVolumeSource{}},
		{AzureFile: &corev1.AzureFileVolumeSource{}},
		{CephFS: &corev1.CephFSVolumeSource{}},
		{Cinder: &corev1.CinderVolumeSource{}},
		{CSI: &corev1.CSIVolumeSource{}},
		{FC: &corev1.FCVolumeSource{}},
		{Flocker: &corev1.FlockerVolumeSource{}},
		{FlexVolume: &corev1.FlexVolumeSource{}},
		{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{}},
		{GitRepo: &corev1.GitRepoVolumeSource{}},
		{Glusterfs: &corev1.GlusterfsVolumeSource{}},
		{ISCSI: &corev1.ISCSIVolumeSource{}},
		{NFS: &corev1.NFSVolumeSource{}},
		{RBD: &corev1.RBDVolumeSource{}},
		{Ephemeral: &corev1.EphemeralVolumeSource{}},
		{PhotonPersistentDisk: &corev1.PhotonPersistentDiskVolumeSource{}},
		{PortworxVolume: &corev1.PortworxVolumeSource{}},
		{Quobyte: &corev1.QuobyteVolumeSource{}},
		{ScaleIO: &corev1.ScaleIOVolumeSource{}},
		{StorageOS: &corev1.StorageOSVolumeSource{}},
		{VsphereVolume: &corev1.VsphereVirtualDiskVolumeSource{}},
		{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	}
	var samples []sample
	for _, source := range all {
		samples = append(samples, inline(source))
	}
	for _, source := range []corev1.PersistentVolumeSource{
		{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{}},
		{AzureDisk: &corev1.AzureDiskVolumeSource{}},
		{AzureFile: &corev1.AzureFilePersistentVolumeSource{}},
		{CephFS: &corev1.CephFSPersistentVolumeSource{}},
		{Cinder: &corev1.CinderPersistentVolumeSource{}},
		{CSI: &corev1.CSIPersistentVolumeSource{}},
		{FC: &corev1.FCVolumeSource{}},
		{Flocker: &corev1.FlockerVolumeSource{}},
		{FlexVolume: &corev1.FlexPersistentVolumeSource{}},
		{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{}},
		{Glusterfs: &corev1.GlusterfsPersistentVolumeSource{}},
		{HostPath: &corev1.HostPathVolumeSource{}},
		{ISCSI: &corev1.ISCSIPersistentVolumeSource{}},
		{Local: &corev1.LocalVolumeSource{}},
		{NFS: &corev1.NFSVolumeSource{}},
		{PhotonPersistentDisk: &corev1.PhotonPersistentDiskVolumeSource{}},
		{PortworxVolume: &corev1.PortworxVolumeSource{}},
		{Quobyte: &corev1.QuobyteVolumeSource{}},
		{RBD: &corev1.RBDPersistentVolumeSource{}},
		{ScaleIO: &corev1.ScaleIOPersistentVolumeSource{}},
		{StorageOS: &corev1.StorageOSPersistentVolumeSource{}},
		{VsphereVolume: &corev1.VsphereVirtualDiskVolumeSource{}},
	} {
		samples = append(samples, bound("", "1Gi", source, nil))
	}
	return samples
}

func TestVeleroRefusesWhatParseRefuses(t *testing.T) {
	for sentence, tc := range refused {
		t.Run(sentence, func(t *testing.T) {
			if _, err := helperFor(t, tc.content, sample{}); err == nil {
				t.Errorf("Velero accepts it:\n%s", tc.content)
			}
		})
	}
}

// TestEveryConditionTellsVolumesApart keeps the table above from holding conditions that prove nothing.
func TestEveryConditionTellsVolumesApart(t *testing.T) {
	same := map[string]bool{ // matches all volumes, or none, as it should
		"no condition": true, "null conditions": true, "any size": true, "zero sizes": true, "null size": true,
		"the empty class": true, "nfs with null": true, "no label in a map": true, "the empty phase": true,
		"the empty mode": true, "no access mode": true, "several that exclude": true, "an access mode twice": true,
	}
	for policy, conditions := range accepted {
		matched := 0
		for _, s := range samples {
			if _, found := matchOf(t, oneEntry(conditions, "{type: skip}"), s); found {
				matched++
			}
		}
		if apart := matched > 0 && matched < len(samples); apart == same[policy] {
			t.Errorf("%s: %d of %d volumes match", policy, matched, len(samples))
		}
	}
}
