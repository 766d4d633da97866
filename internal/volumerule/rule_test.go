// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

func parse(t *testing.T, key, content string) (*volumerule.Rules, error) {
	t.Helper()
	return volumerule.Parse(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "selection"}, Data: map[string]string{key: content},
	})
}

// claimed is a volume data of pod web, in namespace shop, with a claim of 10 GiB in class fast, bound to a CSI volume.
func claimed() volumerule.Volume {
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}
	volume := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-web"},
	}}
	return volumerule.Volume{
		Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "web", Labels: map[string]string{"tier": "front"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: "nightly-1"}},
			},
			Spec: corev1.PodSpec{Volumes: []corev1.Volume{volume}},
		},
		Volume: &volume,
		Claim: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data-web", Labels: map[string]string{"keep": "yes"}},
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To("fast")},
		},
		PV: &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{
			Capacity:               size,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d"}},
		}},
	}
}

// scratch is an emptyDir of the same pod.
func scratch() volumerule.Volume {
	v := claimed()
	v.Volume = &corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{},
	}}
	v.Claim, v.PV = nil, nil
	return v
}

func TestConditions(t *testing.T) {
	for name, test := range map[string]struct {
		condition        string
		claimed, scratch bool
	}{
		"no condition":               {"", true, true},
		"the namespace":              {"namespaces: [shop]", true, true},
		"a pattern of the namespace": {"namespaces: [other, 'sh*']", true, true},
		"a star in the middle":       {"namespaces: ['s*o*p']", true, true},
		"a star for nothing":         {"namespaces: ['*shop*']", true, true},
		"overlapping parts":          {"namespaces: ['sho*hop']", false, false},
		"a star before another end":  {"namespaces: ['*sho']", false, false},
		"another namespace":          {"namespaces: [shops]", false, false},
		"another begin":              {"namespaces: ['kube-*']", false, false},
		"another middle":             {"namespaces: ['s*x*p']", false, false},
		"labels of the pod":          {"podSelector: {matchLabels: {tier: front}}", true, true},
		"other labels of the pod":    {"podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}", false, false},
		"labels of the claim":        {"claimSelector: {matchLabels: {keep: 'yes'}}", true, false},
		"no label of the claim":      {"claimSelector: {matchExpressions: [{key: drop, operator: DoesNotExist}]}", true, false},
		"the volume's name":          {"volumes: ['da*']", true, false},
		"claims":                     {"volumeTypes: [persistentVolumeClaim]", true, false},
		"what is behind a claim":     {"volumeTypes: [csi]", true, false},
		"another type":               {"volumeTypes: [emptyDir, nfs]", false, true},
		"the storage class":          {"storageClasses: [fast]", true, false},
		"another storage class":      {"storageClasses: [slow]", false, false},
		"large enough":               {"size: {atLeast: 10Gi}", true, false},
		"not large enough":           {"size: {atLeast: 11Gi}", false, false},
		"small enough":               {"size: {atLeast: 1Gi, atMost: 10Gi}", true, false},
		"too large":                  {"size: {atMost: 9Gi}", false, false},
		"a Job":                      {"owners: [{kind: Job}]", true, true},
		"a Job by its name":          {"owners: [{kind: Job, names: ['nightly-*']}]", true, true},
		"a Job of another name":      {"owners: [{kind: Job, names: [weekly]}, {kind: StatefulSet}]", false, false},
		"two conditions, one met":    {"namespaces: [shop], volumeTypes: [emptyDir]", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			condition := test.condition
			if condition != "" {
				condition = ", " + condition
			}
			rules, err := parse(t, volumerule.KeyRules, "rules: [{name: r, action: include"+condition+"}]")
			if err != nil {
				t.Fatal(err)
			}
			for what, v := range map[string]struct {
				volume volumerule.Volume
				want   bool
			}{"the claim": {claimed(), test.claimed}, "the emptyDir": {scratch(), test.scratch}} {
				if _, _, got := rules.Match(v.volume); got != v.want {
					t.Errorf("%s meets it: %v, want %v", what, got, v.want)
				}
			}
		})
	}
}

// TestConditionsOfAnUnboundClaim: as long as there is no volume, the claim alone has a size and a class.
func TestConditionsOfAnUnboundClaim(t *testing.T) {
	waiting := claimed()
	waiting.PV = nil
	waiting.Claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	unbounded := claimed()
	unbounded.PV, unbounded.Claim.Spec.Resources.Requests = nil, nil
	classless := claimed()
	classless.Claim.Spec.StorageClassName, classless.PV.Spec.StorageClassName = nil, "slow"
	nothing := claimed()
	nothing.Claim.Spec.StorageClassName, nothing.PV = nil, nil
	for sentence, test := range map[string]struct {
		volume    volumerule.Volume
		condition string
		want      bool
	}{
		"the requested size is enough":        {waiting, "size: {atLeast: 5Gi}", true},
		"the requested size is not enough":    {waiting, "size: {atLeast: 6Gi}", false},
		"a size that nobody requested":        {unbounded, "size: {atMost: 6Gi}", false},
		"the class of the volume":             {classless, "storageClasses: [slow]", true},
		"another class than the volume's":     {classless, "storageClasses: [fast]", false},
		"neither a class nor a volume":        {nothing, "storageClasses: [fast]", false},
		"neither a class nor a volume, but *": {nothing, "storageClasses: ['*']", true},
	} {
		rules, err := parse(t, volumerule.KeyRules, "rules: [{name: r, action: include, "+test.condition+"}]")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, got := rules.Match(test.volume); got != test.want {
			t.Errorf("%s: %s is met: %t, want %t", sentence, test.condition, got, test.want)
		}
	}
}

// TestInlineCSI: the content of most such volumes is a vault's or an issuer's, and no rule about everything means it.
func TestInlineCSI(t *testing.T) {
	inline := scratch()
	inline.Volume = &corev1.Volume{Name: "certificate", VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: "csi.cert-manager.io"},
	}}
	const none = volumerule.Action("")
	for entries, want := range map[string]volumerule.Action{
		"action: include":                      none,
		"action: exclude":                      volumerule.Pass,
		"action: exclude, namespaces: [other]": none,
		"action: include, namespaces: [shop], owners: [{kind: Job}]":   none,
		"action: include, volumes: ['*']":                              none,
		"action: include, volumes: ['**']":                             none,
		"action: include, volumeTypes: [emptyDir]":                     none,
		"action: include, volumeTypes: [csi, emptyDir]":                volumerule.Include,
		"action: exclude, volumeTypes: [csi]":                          volumerule.Exclude,
		"action: include, volumeTypes: [csi], volumes: ['*']":          volumerule.Include,
		"action: include, volumeTypes: [csi], namespaces: [other]":     none,
		"action: include, volumes: [certificate]":                      volumerule.Include,
		"action: exclude, volumes: ['cert*']":                          volumerule.Exclude,
		"action: include, volumes: [certificate], namespaces: [other]": none,
		// What is left out by a rule about other things is not taken by one behind it.
		"action: exclude, namespaces: [shop]}, {name: csi, action: include, volumeTypes: [csi]": volumerule.Pass,
		"action: include, namespaces: [shop]}, {name: csi, action: include, volumeTypes: [csi]": volumerule.Include,
	} {
		rules, err := parse(t, volumerule.KeyRules, "rules: [{name: r, "+entries+"}]")
		if err != nil {
			t.Fatal(err)
		}
		if _, got, found := rules.Match(inline); got != want || found != (want != none) {
			t.Errorf("%s: the inline volume meets %q, want %q", entries, got, want)
		}
	}
	rules, err := parse(t, volumerule.KeyOriginal, "veleroVolumeCfg: {excludeNamespaces: shop, includeVolumeTypes: csi}")
	if err != nil {
		t.Fatal(err)
	}
	if name, action, _ := rules.Match(inline); action != volumerule.Pass {
		t.Errorf("the original's excluded namespace: the inline volume meets %q (%s)", name, action)
	}
}

// TestOwners has rules about what made a pod's owner, which only names tell.
func TestOwners(t *testing.T) {
	const hash = "6c8f7d9b5d"
	for sentence, test := range map[string]struct {
		kind, name, hash string
		owners           string
		want             bool
	}{
		"a Deployment":                        {"ReplicaSet", "web-" + hash, hash, "{kind: Deployment}", true},
		"a Deployment by its name":            {"ReplicaSet", "web-" + hash, hash, "{kind: Deployment, names: [web]}", true},
		"another Deployment":                  {"ReplicaSet", "web-shop-" + hash, hash, "{kind: Deployment, names: [web]}", false},
		"its ReplicaSet":                      {"ReplicaSet", "web-" + hash, hash, "{kind: ReplicaSet, names: ['web-*']}", true},
		"a ReplicaSet of its own":             {"ReplicaSet", "web-" + hash, "", "{kind: Deployment}", false},
		"a ReplicaSet of another":             {"ReplicaSet", "web-" + hash, "5b", "{kind: Deployment}", false},
		"a CronJob":                           {"Job", "nightly-29412345", "", "{kind: CronJob}", true},
		"a CronJob by its name":               {"Job", "nightly-29412345", "", "{kind: CronJob, names: [nightly]}", true},
		"a Job that ends in eight letters":    {"Job", "load-warehouse", "", "{kind: CronJob}", false},
		"a Job named by the second":           {"Job", "migrate-1772900000", "", "{kind: CronJob}", false},
		"a Job named by the day":              {"Job", "migrate-20260315", "", "{kind: CronJob}", false},
		"a Job named by a longer number":      {"Job", "migrate-99999999999", "", "{kind: CronJob}", false},
		"a Job named by day and time":         {"Job", "load-202603151200", "", "{kind: CronJob}", false},
		"another CronJob":                     {"Job", "nightly-ledger-29412345", "", "{kind: CronJob, names: [nightly]}", false},
		"a CronJob whose name has a number":   {"Job", "nightly-2-29412345", "", "{kind: CronJob, names: [nightly-2]}", true},
		"its Job":                             {"Job", "nightly-29412345", "", "{kind: Job, names: ['nightly-*']}", true},
		"a Job that a person has named":       {"Job", "migrate-all", "", "{kind: CronJob}", false},
		"a Job that a person has counted":     {"Job", "migrate-2", "", "{kind: CronJob}", false},
		"a Job named by a number":             {"Job", "29412345", "", "{kind: CronJob}", false},
		"one of two":                          {"Job", "nightly-29412345", "", "{kind: Deployment}, {kind: CronJob}", true},
		"a kind that others have brought":     {"Rollout", "web", "", "{kind: Rollout, names: [web]}", true},
		"an owner whose name ends as such do": {"StatefulSet", "db-29412345", "", "{kind: CronJob}, {kind: Deployment}", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, err := parse(t, volumerule.KeyRules, "rules: [{name: r, action: include, owners: ["+test.owners+"]}]")
			if err != nil {
				t.Fatal(err)
			}
			v := claimed()
			v.Pod.OwnerReferences = []metav1.OwnerReference{{Kind: test.kind, Name: test.name}}
			if test.hash != "" {
				v.Pod.Labels["pod-template-hash"] = test.hash
			}
			if _, _, got := rules.Match(v); got != test.want {
				t.Errorf("a pod of %s %s meets it: %v, want %v", test.kind, test.name, got, test.want)
			}
		})
	}
}

func TestFirstMatchWins(t *testing.T) {
	rules, err := parse(t, volumerule.KeyRules, `rules:
- {name: no jobs, action: exclude, owners: [{kind: Job}]}
- {name: all, action: include}`)
	if err != nil {
		t.Fatal(err)
	}
	if name, action, _ := rules.Match(claimed()); name != "no jobs" || action != volumerule.Exclude {
		t.Errorf("the pod of a Job meets %q (%s)", name, action)
	}
	free := claimed()
	free.Pod.OwnerReferences = nil
	if name, action, _ := rules.Match(free); name != "all" || action != volumerule.Include {
		t.Errorf("another pod meets %q (%s)", name, action)
	}
	var none *volumerule.Rules
	if _, _, found := none.Match(free); found {
		t.Error("no rules match")
	}
}

// TestOriginalExcludesNothingByDefault: the controller only ever wrote an annotation, which a backup of all volumes
// does not need.
func TestOriginalExcludesNothingByDefault(t *testing.T) {
	for _, config := range []string{"{excludeNamespaces: shop}", "{excludeJobs: '*'}"} {
		rules, err := parse(t, volumerule.KeyOriginal, "veleroVolumeCfg: "+config)
		if err != nil {
			t.Fatal(err)
		}
		if name, action, _ := rules.Match(claimed()); action != volumerule.Pass {
			t.Errorf("%s: the claim meets %q (%s)", config, name, action)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		says    []string
	}{
		"what is no YAML":                   {"rules: [", []string{"rules.yaml"}},
		"no rule":                           {"rules: []", []string{"rules is empty"}},
		"a field that is none":              {"rules: [{name: a, action: include, namespace: x}]", []string{"rules[0] (a)", `unknown field "namespace"`}},
		"a field of another kind":           {"rules: [{name: a, action: include, namespaces: x}]", []string{"rules[0] (a)", "namespaces"}},
		"a rule that is none":               {"rules: [a]", []string{"rules[0]"}},
		"two errors in a rule":              {"rules: [{name: a, action: x, size: {}}]", []string{"rules[0] (a): action", "; rules[0] (a): size"}},
		"no name":                           {"rules: [{action: include}]", []string{"rules[0]: name"}},
		"a name twice":                      {"rules: [{name: a, action: include}, {name: a, action: exclude}]", []string{"rules[1] (a): name"}},
		"another action":                    {"rules: [{name: a, action: take}]", []string{`rules[0] (a): action: it is "take"`, "include or exclude"}},
		"a bad pattern":                     {"rules: [{name: a, action: include, namespaces: [team_x]}]", []string{"namespaces", `"team_x"`}},
		"an empty pattern":                  {"rules: [{name: a, action: include, volumes: ['']}]", []string{"volumes"}},
		"a bad selector":                    {"rules: [{name: a, action: include, podSelector: {matchExpressions: [{key: x, operator: Is}]}}]", []string{"podSelector"}},
		"a type that is none":               {"rules: [{name: a, action: include, volumeTypes: [hostPath]}]", []string{"volumeTypes", `"hostPath"`}},
		"no size":                           {"rules: [{name: a, action: include, size: {}}]", []string{"size: give it"}},
		"a negative size":                   {"rules: [{name: a, action: include, size: {atLeast: -1Gi}}]", []string{"size.atLeast", `"-1Gi"`}},
		"a bad size":                        {"rules: [{name: a, action: include, size: {atMost: big}}]", []string{"size.atMost", `"big"`}},
		"sizes in wrong order":              {"rules: [{name: a, action: include, size: {atLeast: 2Gi, atMost: 1Gi}}]", []string{"atLeast 2Gi is above"}},
		"a type that was":                   {"rules: [{name: a, action: include, volumeTypes: [quobyte]}]", []string{"volumeTypes", `"quobyte"`}},
		"a type list without one":           {"rules: [{name: a, action: include, volumeTypes: []}]", []string{"volumeTypes: the list is empty"}},
		"a list without one":                {"rules: [{name: a, action: include, namespaces: []}]", []string{"namespaces: the list is empty"}},
		"no owners":                         {"rules: [{name: a, action: include, owners: []}]", []string{"owners: the list is empty"}},
		"a kind in small letters":           {"rules: [{name: a, action: include, owners: [{kind: statefulset}]}]", []string{"rules[0] (a): owners[0].kind", `"statefulset" is no kind: write StatefulSet`}},
		"a kind of other letters":           {"rules: [{name: a, action: include, owners: [{kind: Job}, {kind: Statefulset}]}]", []string{"owners[1].kind", "write StatefulSet"}},
		"a kind of several":                 {"rules: [{name: a, action: include, owners: [{kind: Jobs}]}]", []string{`"Jobs" is no kind: write Job`}},
		"a resource":                        {"rules: [{name: a, action: include, owners: [{kind: cronjobs}]}]", []string{`"cronjobs" is no kind: write CronJob`}},
		"an unknown kind without a capital": {"rules: [{name: a, action: include, owners: [{kind: rollout}]}]", []string{`"rollout" is no kind`, "capital"}},
		"an action of no rule":              {"rules: [{name: a, action: pass}]", []string{"include or exclude"}},
		"an owner without kind":             {"rules: [{name: a, action: include, owners: [{names: [x]}]}]", []string{"owners[0].kind"}},
		"two rules that are bad":            {"rules: [{name: a, action: x}, {name: b, action: y}]", []string{"rules[0] (a)", "rules[1] (b)"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, volumerule.KeyRules, test.content)
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, part := range append(test.says, "ConfigMap velero/selection") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
	for name, data := range map[string]map[string]string{
		"no key": nil, "another key": {"config.yaml": ""}, "two keys": {"rules.yaml": "", "config.yml": ""},
	} {
		if _, err := volumerule.Parse(&corev1.ConfigMap{Data: data}); err == nil ||
			!strings.Contains(err.Error(), volumerule.KeyRules) {
			t.Errorf("%s: error is %v, want one that names %s", name, err, volumerule.KeyRules)
		}
	}
	if rules, err := volumerule.Parse(nil); rules != nil || err != nil {
		t.Errorf("no ConfigMap gives %v and error %v", rules, err)
	}
}

// TestParseRefusesEmptyKeys: an exclude rule whose only condition is commented out must not exclude everything.
func TestParseRefusesEmptyKeys(t *testing.T) {
	for content, key := range map[string]string{
		"namespaces:\n  # - shop":              "namespaces",
		"podSelector:":                         "podSelector",
		"podSelector: {matchLabels: }":         "podSelector.matchLabels",
		"podSelector: {matchLabels: {name: }}": "podSelector.matchLabels.name",
		"claimSelector: {matchExpressions: }":  "claimSelector.matchExpressions",
		"claimSelector: {matchExpressions: [{key: a, operator: Exists, values: }]}": "claimSelector.matchExpressions[0].values",
		"volumes: ~":                     "volumes",
		"volumeTypes: null":              "volumeTypes",
		"storageClasses:":                "storageClasses",
		"size:":                          "size",
		"size: {atLeast: , atMost: 1Gi}": "size.atLeast",
		"size: {atLeast: 1Gi, atMost: }": "size.atMost",
		"owners:":                        "owners",
		"owners: [{kind: StatefulSet}, {kind: Job, names: }]": "owners[1].names",
	} {
		_, err := parse(t, volumerule.KeyRules, "rules:\n- name: none\n  action: exclude\n  "+content)
		want := "rules[0] (none): " + key + ": nothing stands behind it: add an entry, or leave the key out"
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "nothing stands") != 1 {
			t.Errorf("%s: error is %v, want one that says %q", content, err, want)
		}
	}
	for content, says := range map[string]string{
		"{name: , action: include}":                      "name: it is empty",
		"{name: a, action: }":                            `action: it is ""`,
		"{name: a, action: include, owners: [{kind: }]}": "owners[0].kind: it is empty",
	} {
		_, err := parse(t, volumerule.KeyRules, "rules: ["+content+"]")
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "leave the key out") {
			t.Errorf("%s: error is %v, want no more than %q", content, err, says)
		}
	}
}

// TestParseReadsOneDocument: what stands behind --- would be no rules, and nobody would notice.
func TestParseReadsOneDocument(t *testing.T) {
	const rules, original = "rules: [{name: a, action: include}]\n", "veleroVolumeCfg: {}\n"
	for sentence, test := range map[string]struct {
		key, content string
		refused      bool
	}{
		"two documents":                   {volumerule.KeyRules, rules + "---\n" + rules, true},
		"a second one that is no YAML":    {volumerule.KeyRules, rules + "---\nrules: [", true},
		"a first one that is empty":       {volumerule.KeyRules, "# mine\n---\n---\n" + rules, true},
		"three, and the second is empty":  {volumerule.KeyRules, rules + "---\n---\n" + rules, true},
		"two of the original":             {volumerule.KeyOriginal, original + "---\n" + original, true},
		"one that begins with a marker":   {volumerule.KeyRules, "# mine\n---\n" + rules, false},
		"one that ends with a marker":     {volumerule.KeyRules, rules + "---\n# no more\n", false},
		"one that has an end":             {volumerule.KeyRules, rules + "...\n", false},
		"dashes in a text of its":         {volumerule.KeyRules, "rules:\n- action: include\n  name: |\n    a\n    ---\n    b\n", false},
		"an original that begins with it": {volumerule.KeyOriginal, "---\n" + original, false},
	} {
		_, err := parse(t, test.key, test.content)
		if test.refused && (err == nil || !strings.Contains(err.Error(), test.key+": there is a second document")) {
			t.Errorf("%s: error is %v, want one about the second document", sentence, err)
		}
		if !test.refused && err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// TestOriginal reads configurations of velero-volume-controller, as its documentation has them.
func TestOriginal(t *testing.T) {
	const server = "clusterServerCfg: {masterURL: '', kubeConfig: '', leaseLockNamespace: velero, leaseLockName: x}\n"
	for name, test := range map[string]struct {
		config           string
		claimed, scratch bool
	}{
		"the defaults take all claims": {"veleroVolumeCfg: {}", true, false},
		"a namespace":                  {"veleroVolumeCfg: {includeNamespaces: 'other, shop'}", true, false},
		"other namespaces":             {"veleroVolumeCfg: {includeNamespaces: other}", false, false},
		"all but a namespace":          {"veleroVolumeCfg: {excludeNamespaces: 'kube-system,shop'}", false, false},
		"claims by name of the type":   {"veleroVolumeCfg: {includeVolumeTypes: persistentVolumeClaim}", true, false},
		"another type":                 {"veleroVolumeCfg: {includeVolumeTypes: emptyDir}", false, true},
		"no claims":                    {"veleroVolumeCfg: {excludeVolumeTypes: 'hostPath,persistentVolumeClaim'}", false, false},
		"no claims, but another type":  {"veleroVolumeCfg: {excludeVolumeTypes: emptyDir}", true, false},
		"also what is never taken":     {"veleroVolumeCfg: {includeVolumeTypes: 'hostPath, persistentVolumeClaim'}", true, false},
		"types that Kubernetes once had": {
			"veleroVolumeCfg: {includeVolumeTypes: 'persistentVolumeClaim,quobyte,storageos,scaleIO,flocker,photonPersistentDisk'}", true, false,
		},
		"no Jobs of such a name": {"veleroVolumeCfg: {excludeJobs: 'nightly*'}", false, false},
		"empty values": {
			"veleroVolumeCfg:\n  includeNamespaces: shop\n  excludeNamespaces:\n  includeVolumeTypes: persistentVolumeClaim\n  excludeVolumeTypes:\n  excludeJobs: weekly\n",
			true, false,
		},
		"no Jobs, but of another name":  {"veleroVolumeCfg: {excludeJobs: 'weekly*,x'}", true, false},
		"namespaces and Jobs, together": {"veleroVolumeCfg: {includeNamespaces: shop, excludeJobs: 'nightly-1'}", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := parse(t, volumerule.KeyOriginal, server+test.config)
			if err != nil {
				t.Fatal(err)
			}
			_, action, found := rules.Match(claimed())
			if got := found && action == volumerule.Include; got != test.claimed {
				t.Errorf("the claim is taken: %v, want %v", got, test.claimed)
			}
			_, action, found = rules.Match(scratch())
			if got := found && action == volumerule.Include; got != test.scratch {
				t.Errorf("the emptyDir is taken: %v, want %v", got, test.scratch)
			}
		})
	}
	for name, test := range map[string]struct{ config, says string }{
		"the section is missing, which made the original panic": {"clusterServerCfg: {}", "veleroVolumeCfg"},
		"both lists of namespaces": {
			"veleroVolumeCfg: {includeNamespaces: a, excludeNamespaces: b}", "includeNamespaces and excludeNamespaces",
		},
		"both lists of types": {
			"veleroVolumeCfg: {includeVolumeTypes: nfs, excludeVolumeTypes: b}", "includeVolumeTypes and excludeVolumeTypes",
		},
		"a type that is none":          {"veleroVolumeCfg: {includeVolumeTypes: pvc}", `"pvc"`},
		"an excluded one that is none": {"veleroVolumeCfg: {excludeVolumeTypes: pvc}", `"pvc"`},
		"a star for namespaces":        {"veleroVolumeCfg: {includeNamespaces: '*'}", "includeNamespaces"},
		"a list that is one":           {"veleroVolumeCfg: {includeNamespaces: [a]}", "includeNamespaces"},
		"a misspelled key":             {"veleroVolumeCfg: {includeNamespace: a}", "includeNamespace"},
		"no entry among namespaces":    {"veleroVolumeCfg: {includeNamespaces: ','}", `veleroVolumeCfg.includeNamespaces: "," has no entry`},
		"nor among excluded ones":      {"veleroVolumeCfg: {excludeNamespaces: ' '}", `excludeNamespaces: " " has no entry`},
		"nor among types":              {"veleroVolumeCfg: {includeVolumeTypes: ' , '}", `includeVolumeTypes: " , " has no entry`},
		"nor among excluded types":     {"veleroVolumeCfg: {excludeVolumeTypes: ','}", `excludeVolumeTypes: "," has no entry`},
		"nor among Jobs":               {"veleroVolumeCfg: {excludeJobs: ' '}", `excludeJobs: " " has no entry`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(t, volumerule.KeyOriginal, test.config); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want one that says %q", err, test.says)
			}
		})
	}
}
