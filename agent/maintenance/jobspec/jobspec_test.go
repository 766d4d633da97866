// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package jobspec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// baseDaemonSet is the one that users apply, changed by a person's patch.
func baseDaemonSet(t *testing.T, patch func(spec *corev1.PodSpec, container *corev1.Container)) *appsv1.DaemonSet {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "base", "agent", "daemonset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	daemonSet := &appsv1.DaemonSet{}
	if err := yaml.UnmarshalStrict(content, daemonSet); err != nil {
		t.Fatal(err)
	}
	if patch != nil {
		patch(&daemonSet.Spec.Template.Spec, &daemonSet.Spec.Template.Spec.Containers[0])
	}
	return daemonSet
}

func jobRepository() *resticv1.ResticRepository {
	repository := &resticv1.ResticRepository{ObjectMeta: metav1.ObjectMeta{
		Namespace: agenttest.Velero, Name: contract.RepositoryName(agenttest.Shop, agenttest.Location), UID: "uid-of-repository",
	}}
	repository.Spec = resticv1.ResticRepositorySpec{VolumeNamespace: agenttest.Shop, BackupStorageLocation: agenttest.Location, CheckParts: 20}
	return repository
}

// TestMaintenanceJob compares Jobs with those in testdata. UPDATE=1 writes them anew.
func TestMaintenanceJob(t *testing.T) {
	started := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	cases := map[string]struct {
		patch    func(spec *corev1.PodSpec, container *corev1.Container)
		entry    resticv1.Maintenance
		settings string
	}{
		"check": {entry: resticv1.Maintenance{Operation: resticv1.OperationCheck, Part: 3}},
		"prune-patched": {
			entry: resticv1.Maintenance{Operation: resticv1.OperationPrune},
			patch: func(spec *corev1.PodSpec, container *corev1.Container) {
				spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}}
				spec.NodeSelector = map[string]string{"kubernetes.io/os": "linux"}
				spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "nfs", VolumeSource: corev1.VolumeSource{
					NFS: &corev1.NFSVolumeSource{Server: "nfs.example.com", Path: "/restic"},
				}})
				container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "nfs", MountPath: "/repositories"})
				container.Args = []string{"--extra-env-secret=more", "--log-level=debug"}
				privileged := true
				container.SecurityContext = &corev1.SecurityContext{Privileged: &privileged}
				spec.Containers = append(spec.Containers, corev1.Container{Name: "sidecar", Image: "example.com/sidecar"})
			},
			settings: `{"loadAffinity":[{"nodeSelector":{"matchLabels":{"pool":"backup"}}}],
				"podResources":{"cpuRequest":"500m","memoryLimit":"4Gi","memoryRequest":"1Gi","cpuLimit":"0"},
				"priorityClassName":"low","podLabels":{"team":"storage"},"podAnnotations":{"example.com/note":"x"},
				"tolerations":[{"key":"backup","operator":"Exists"}],"activeDeadline":"2h","maxUnused":"10%","maxRepackSize":"50G"}`,
		},
		"snapshots": {entry: resticv1.Maintenance{Operation: resticv1.OperationSnapshots}},
		"unlock":    {entry: resticv1.Maintenance{Operation: resticv1.OperationUnlock, Host: "restic-dead1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			repository := jobRepository()
			settings, problems := ReadSettings(agenttest.SettingsMap(c.settings), repository)
			if c.settings == "" {
				settings, problems = ReadSettings(nil, repository)
			}
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			c.entry.StartTime = started
			c.entry.Job = Name(repository, &c.entry)
			job, err := Build(baseDaemonSet(t, c.patch), repository, &c.entry, settings)
			if err != nil {
				t.Fatal(err)
			}
			if len(job.Name) > 57 {
				t.Errorf("the pod of Job %s has no name that is a host name", job.Name)
			}
			got, err := yaml.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "job-"+name+".yaml")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("Job (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadSettings(t *testing.T) {
	own := "shop-default-restic"
	cases := map[string]struct {
		data map[string]string
		// says is in the only problem; empty for none.
		says string
		want func(s Settings) bool
	}{
		"a repository's own settings come before those of all": {
			data: map[string]string{
				globalKey: `{"maxUnused":"5%","keepLatestMaintenanceJobs":1}`, own: `{"maxUnused":"20%"}`,
			},
			want: func(s Settings) bool { return s.MaxUnused == "20%" && *s.KeepLatestMaintenanceJobs == 1 },
		},
		"the name of the ResticRepository is a key, too": {
			data: map[string]string{jobRepository().Name: `{"maxUnused":"20%"}`},
			want: func(s Settings) bool { return s.MaxUnused == "20%" },
		},
		"those of another repository do not count": {
			data: map[string]string{"blog-default-restic": `{"maxUnused":"20%"}`, "blog": `{`},
			want: func(s Settings) bool { return s.MaxUnused == "" },
		},
		"no JSON gives the defaults": {
			data: map[string]string{globalKey: `memory: 2Gi`}, says: `key "global": it must be a JSON object`,
			want: func(s Settings) bool { return s.DeadlineOrDefault() == defaultDeadline },
		},
		"an unknown field is told, and the others count": {
			data: map[string]string{globalKey: `{"memory":"2Gi","maxUnused":"20%"}`}, says: `unknown field "memory"`,
			want: func(s Settings) bool { return s.MaxUnused == "20%" },
		},
		"a quantity that is none gives the default resources": {
			data: map[string]string{globalKey: `{"podResources":{"memoryLimit":"lots"},"maxUnused":"20%"}`},
			says: `podResources.memoryLimit is "lots"`,
			want: func(s Settings) bool { return s.PodResources == nil && s.MaxUnused == "20%" },
		},
		"a request above its limit gives the default resources": {
			data: map[string]string{globalKey: `{"podResources":{"memoryLimit":"1Gi","memoryRequest":"2Gi"}}`},
			says: "above its limit", want: func(s Settings) bool { return s.PodResources == nil },
		},
		"options of restic that it would refuse": {
			data: map[string]string{globalKey: `{"maxRepackSize":"huge"}`}, says: "maxRepackSize",
			want: func(s Settings) bool { return s.MaxRepackSize == "" },
		},
		"numbers out of range": {
			data: map[string]string{globalKey: `{"concurrency":0,"keepLatestMaintenanceJobs":-1,"activeDeadline":"0s"}`},
			says: "concurrency must be at least 1",
			want: func(s Settings) bool {
				return s.Concurrency == nil && s.KeepLatestMaintenanceJobs == nil && s.DeadlineOrDefault() == defaultDeadline
			},
		},
		"no settings at all": {want: func(s Settings) bool { return s.StartDeadlineOrDefault() == DefaultStartDeadline }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			config := agenttest.SettingsMap("")
			config.Data = c.data
			settings, problems := ReadSettings(config, jobRepository())
			if !c.want(settings) {
				t.Errorf("the settings are %+v", settings)
			}
			told := strings.Join(problems, "\n")
			if (c.says == "") != (told == "") || !strings.Contains(told, c.says) ||
				(told != "" && !strings.Contains(told, "ConfigMap velero/"+contract.MaintenanceConfigMap)) {
				t.Errorf("the problems are %q, want %q", told, c.says)
			}
		})
	}
}
