// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"context"
	"io"
)

// Guides returns the guides in the order in which a test follows the pages on a cluster without this project. The first
// page installs the project and removes it, and the second installs it for all others. A page without a guide needs no
// preparation.
func Guides() []Guide {
	return []Guide{
		installation(), readme(), backup(), rules(), restore(), retention(), maintenance(), cli(), watching(),
		troubleshooting(), alerts(), privileged(), platforms(),
	}
}

// GuideFor returns the guide for a page, or an empty guide.
func GuideFor(file string) Guide {
	for _, guide := range Guides() {
		if guide.File == file && guide.Only == nil {
			return guide
		}
	}
	return Guide{File: file}
}

// Install installs the project as docs/install.md describes, up to the section about uninstalling. The cluster must
// have Velero, and the project's images or a registry with them.
func (w *Workspace) Install(ctx context.Context, out io.Writer) error {
	return w.Follow(ctx, installation(), "Uninstall", out)
}

// latestRestore is the name of the latest restore.
const latestRestore = `$(kubectl -n velero get restores.velero.io --sort-by=.metadata.creationTimestamp ` +
	`-o jsonpath='{.items[-1:].metadata.name}')`

// fooRepository is the name of the repository of namespace foo.
const fooRepository = "$(kubectl -n velero get resticrepositories -l velero.io/volume-namespace=foo " +
	"-o jsonpath='{.items[0].metadata.name}')"

// createNamespace creates namespace foo with the claim of the pod on the pages.
const createNamespace = `kubectl apply -f - <<END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: csi.velero-restic.test
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: Namespace
metadata: {name: foo}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: test-volume-claim, namespace: foo}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
END
`

// createSample also creates the pod, and a file in each volume.
const createSample = createNamespace + `kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: sample, namespace: foo}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - image: busybox:stable
    name: main
    command: [sleep, infinity]
    volumeMounts: [{name: pvc-volume, mountPath: /volume-1}, {name: emptydir-volume, mountPath: /volume-2}]
  volumes:
  - {name: pvc-volume, persistentVolumeClaim: {claimName: test-volume-claim}}
  - {name: emptydir-volume, emptyDir: {}}
END
kubectl -n foo wait pod/sample --for=condition=Ready --timeout=120s
kubectl -n foo exec sample -- sh -c 'echo first > /volume-1/file; echo second > /volume-2/file'
`

// readSample waits until the pod is ready, and prints the files in its volumes.
const readSample = `kubectl -n foo wait pod/sample --for=condition=Ready --timeout=120s
kubectl -n foo exec sample -c main -- sh -c 'cat /volume-1/file /volume-2/file'
`

// deleteNamespace deletes the namespace with everything in it.
const deleteNamespace = "kubectl -n foo delete pods --all --now\n" +
	"kubectl delete namespace foo --ignore-not-found --timeout=90s\n"

// backUpSample backs up the two volumes of the pod.
func backUpSample(name string) string {
	return "kubectl -n foo annotate pod/sample --overwrite " +
		"backup.velero.io/backup-volumes=pvc-volume,emptydir-volume\n" +
		"velero backup create " + name + " --include-namespaces foo --wait\n" +
		"[ \"$(kubectl -n velero get backups.velero.io " + name + " -o jsonpath='{.status.phase}')\" = Completed ]\n"
}

func installation() Guide {
	return Guide{
		File: "docs/install.md",
		Replace: map[string]string{
			"namespace: backup ": "namespace: velero ", // the namespace of Velero on the test cluster
			"<part>":             "crds",
		},
		Checks: []Check{
			{
				Block:        "create secret generic velero-restic-credentials",
				Script:       "kubectl -n velero get secret velero-restic-credentials -o jsonpath='{.data}'",
				ScriptOutput: []string{`{"repository-password":"`},
			},
			{Block: "> repository-password", Script: "wc -c < repository-password", ScriptOutput: []string{"44"}},
			{
				Block: "velero plugin add", Output: []string{"velero.io/restic "},
				Script: "kubectl -n velero wait pod -l name=restic --for=condition=Ready --timeout=60s",
			},
			{
				Block: "velero plugin remove",
				Script: "[ -z \"$(kubectl get crd,daemonset,clusterrole -A -o name | grep restic)\" ] && " +
					"kubectl -n velero get deployment velero -o jsonpath='{..initContainers[*].image};'",
				ScriptOutput: []string{"velero-plugin-for-aws", ";"},
			},
		},
	}
}

func readme() Guide {
	return Guide{
		File: "README.md",
		Before: "kubectl -n velero rollout status deployment/velero --timeout=120s\n" +
			"kubectl -n velero delete secret velero-restic-credentials --ignore-not-found\n" + createSample,
		After:   deleteNamespace,
		Replace: map[string]string{"NAME": "readme", "RESTORE": latestRestore},
		Checks: []Check{
			{
				Block:  "velero backup create NAME --wait",
				Output: []string{"pvc-volume: Completed, ", "Phase:  Completed"},
				Script: deleteNamespace,
			},
			{
				Block: "velero restore create --from-backup NAME --wait", Output: []string{"Completed"},
				Script: readSample, ScriptOutput: []string{"first\nsecond\n"},
			},
		},
	}
}

func backup() Guide {
	return Guide{
		File: "docs/backup.md",
		Before: createNamespace + `kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: foo}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - image: busybox:stable
    name: main
    command: [sleep, infinity]
    volumeMounts: [{name: one, mountPath: /one}, {name: two, mountPath: /two}]
  volumes: [{name: one, emptyDir: {}}, {name: two, emptyDir: {}}]
END`,
		After: "kubectl -n velero delete schedules.velero.io --all\n" + deleteNamespace,
		Replace: map[string]string{
			"YOUR_POD_NAMESPACE": "foo", "YOUR_POD_NAME": "other",
			"YOUR_VOLUME_NAME_1": "one", "YOUR_VOLUME_NAME_2": "two",
			"NAME": "page-backup", "NIGHTLY": "nightly",
		},
		Apply: []string{"  name: sample\n"},
		Checks: []Check{
			{
				Block:  "annotate pod/sample",
				Script: "kubectl -n foo wait pod --all --for=condition=Ready --timeout=120s",
			},
			{
				Block: "velero backup create NAME --include-namespaces foo --wait",
				Script: "kubectl -n velero get podvolumebackups -l velero.io/backup-name=page-backup " +
					"--sort-by=.spec.volume -o jsonpath='{range .items[*]}{.spec.volume} {.status.phase};{end}'",
				ScriptOutput: []string{
					"emptydir-volume Completed;one Completed;pvc-volume Completed;two Completed;",
				},
			},
			{
				Block:  "velero backup describe NAME --details",
				Output: []string{"Phase:  Completed", "pvc-volume: Completed, ", "kind: PodVolumeBackup"},
			},
		},
	}
}

func restore() Guide {
	return Guide{
		File:   "docs/restore.md",
		Before: createSample + backUpSample("page-restore") + deleteNamespace,
		After: deleteNamespace + `kubectl delete namespace foo-copy --ignore-not-found --timeout=90s
kubectl -n velero delete configmap change-storage-class-config --ignore-not-found`,
		Replace: map[string]string{
			"NAME": "page-restore", "RESTORE": latestRestore, "OLD_CLASS": "standard", "NEW_CLASS": "other",
		},
		Apply: []string{"velero.io/change-storage-class: RestoreItemAction"},
		Checks: []Check{
			{
				Block:  "velero restore create --from-backup NAME --wait",
				Script: readSample, ScriptOutput: []string{"first\nsecond\n"},
			},
			{
				Block:  "velero restore describe RESTORE --details",
				Output: []string{"Phase:", "Completed", "pvc-volume: Completed, ", "kind: PodVolumeRestore"},
			},
			{
				Block: "foo:foo-copy",
				Script: "kubectl -n foo-copy wait pod/sample --for=condition=Ready --timeout=120s\n" +
					"kubectl -n foo-copy exec sample -c main -- cat /volume-1/file",
				ScriptOutput: []string{"first\n"},
			},
			{
				Block: "velero.io/change-storage-class: RestoreItemAction",
				Script: `kubectl apply -f - <<END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: other}
provisioner: csi.velero-restic.test
volumeBindingMode: Immediate
END
` + deleteNamespace + "velero restore create --from-backup page-restore --wait\n" + readSample +
					`kubectl -n foo get pvc test-volume-claim -o jsonpath='class {.spec.storageClassName}'
kubectl -n velero get secret velero-restic-credentials -o jsonpath='{.data.repository-password}' | base64 -d \
  > repository-password
kubectl -n velero delete secret velero-restic-credentials`,
				ScriptOutput: []string{"first\nsecond\n", "class other"},
			},
			{Block: `{"accessMode":"ReadOnly"}`, Script: deleteNamespace},
			{Block: "velero backup get", Script: readSample, ScriptOutput: []string{"first\nsecond\n"}},
		},
	}
}

func maintenance() Guide {
	return Guide{
		File:   "docs/maintenance.md",
		Before: createSample + backUpSample("page-maintenance"),
		After:  deleteNamespace,
		Replace: map[string]string{
			"resticrepository NAME": "resticrepository " + fooRepository,
			"job/JOB": "$(kubectl -n velero get jobs -l restic.velero.io/operation=prune -o name | " +
				"head -n 1)",
		},
		Checks: []Check{{
			Block: `"prune"`,
			Script: `for second in $(seq 180); do
  done=$(kubectl -n velero get resticrepository ` + fooRepository +
				` -o jsonpath='{.status.lastMaintenanceTime}/{.status.lastCheckTime}')
  case $done in 2*/2*) break ;; esac
  sleep 1
done
echo "pruned and checked: $done"`,
			ScriptOutput: []string{"pruned and checked: 2", "/2"},
		}},
	}
}

func cli() Guide {
	return Guide{
		File:   "docs/cli.md",
		Before: createSample + backUpSample("page-cli"),
		After:  "kubectl -n velero delete rolebinding ann-restic\nkubectl delete -k examples/cli\n" + deleteNamespace,
		Replace: map[string]string{
			"get NAME": "get foo", "check NAME": "check foo", "prune NAME": "prune foo",
			"snapshots NAME": "snapshots foo", "BACKUP": "page-cli",
		},
		Checks: []Check{
			{Block: "kubectl velero-restic version", Output: []string{"Client: ", "Agents: "}},
			{
				Block:  "repo get -o wide",
				Output: []string{"NAME", "STATUS", "LAST MAINTENANCE", "kind: ResticRepository"},
			},
			{
				Block:  "repo prune NAME",
				Output: []string{"check requested", "done after", "no errors in the structure", "freed ", "locks"},
			},
			{Block: "repo snapshots NAME", Output: []string{"page-cli", "pvc-volume", "test-volume-claim"}},
			{Block: "--as ann", Output: []string{"LAST MAINTENANCE"}},
		},
	}
}

func watching() Guide {
	return Guide{
		File: "docs/watch.md",
		Before: createSample + backUpSample("page-watch") + deleteNamespace +
			"velero restore create page-watch --from-backup page-watch --wait\n" + readSample,
		After:   deleteNamespace,
		Replace: map[string]string{"NAME": "page-watch", "plan shop": "plan foo"},
		Checks: []Check{
			{Block: "backup watch NAME", Output: []string{"backup page-watch", "Completed", "pvc-volume"}},
			{Block: "restore watch NAME", Output: []string{"restore page-watch", "Completed", "pvc-volume"}},
			{Block: "velero-restic coverage", Output: []string{"test-volume-claim", "claims protected"}},
			{Block: "velero-restic plan shop", Output: []string{"pvc-volume", "restic backs up "}},
		},
	}
}

func troubleshooting() Guide {
	return Guide{
		File: "docs/troubleshooting.md",
		Before: createSample + backUpSample("page-trouble") + deleteNamespace +
			"velero restore create page-trouble --from-backup page-trouble --wait\n" + readSample + `
kubectl -n foo annotate pod/sample --overwrite backup.velero.io/backup-volumes=pvc-volume,nowhere
velero backup create page-warning --include-namespaces foo --wait
credentials=$(kubectl -n velero get secret cloud-credentials -o jsonpath='{.data.cloud}' | base64 -d)
export AWS_ACCESS_KEY_ID=$(echo "$credentials" | sed -n 's/^aws_access_key_id *= *//p')
export AWS_SECRET_ACCESS_KEY=$(echo "$credentials" | sed -n 's/^aws_secret_access_key *= *//p')`,
		After: deleteNamespace,
		Replace: map[string]string{
			"NS": "foo", "POD": "sample", "NAME": "page-warning", "restore-name=NAME": "restore-name=page-trouble",
			"describe pvc NAME":            "describe pvc test-volume-claim",
			"delete resticrepository NAME": "delete resticrepository " + fooRepository,
			"s3:https://…": "$(kubectl -n velero get resticrepositories " +
				"-o jsonpath='{.items[0].status.resticIdentifier}')",
		},
		Checks: []Check{
			{Block: "velero backup logs NAME", Output: []string{"has no volume nowhere"}},
			{
				Block: "delete resticrepository NAME", Script: backUpSample("page-again") +
					"kubectl -n velero get resticrepositories -o wide", ScriptOutput: []string{"Ready"},
			},
			{Block: "logs POD -c restic-restore-wait", Output: []string{"pvc-volume"}},
			{Block: "password snapshots", Output: []string{"velero"}},
		},
	}
}
