// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

// printAgent prints the agent's directory of pods and its security context.
const printAgent = `kubectl -n velero get daemonset restic -o jsonpath='{.spec.template.spec.volumes[0].name} ` +
	`{.spec.template.spec.volumes[0].hostPath.path} {.spec.template.spec.containers[0].name} ` +
	`{.spec.template.spec.containers[0].securityContext}'`

// asInBase is the start of the agent's security context in examples/base.
const asInBase = `restic {"allowPrivilegeEscalation":false,"appArmorProfile":{"type":"Unconfined"},` +
	`"capabilities":{"add":["CHOWN",`

const privilegedPatch = `"path":"/spec/template/spec/containers/0/securityContext","value": { "privileged": true}`

// privileged backs up and restores a volume on a real node with the patched agent.
func privileged() Guide {
	return Guide{
		File: "docs/platforms.md", Only: &Only{Section: "OpenShift", Block: privilegedPatch}, Before: createSample,
		After: "kubectl apply -k examples/kubelet-root\n" +
			"kubectl -n velero rollout status daemonset/restic --timeout=120s\n" + deleteNamespace,
		Checks: []Check{{
			Block: privilegedPatch,
			Script: printAgent + "\nkubectl -n velero rollout status daemonset/restic --timeout=120s\n" +
				backUpSample("privileged") + deleteNamespace +
				"velero restore create privileged --from-backup privileged --wait\n" + readSample,
			ScriptOutput: []string{`{"privileged":true}`, "first\nsecond\n"},
		}},
	}
}

// platforms needs no node: on a node, the agent would look for the directories of other platforms.
func platforms() Guide {
	const usual, open = "host-pods /var/lib/kubelet/pods ", `restic {"privileged":true}`
	const old = "host-pods /var/lib/origin/openshift.local.volumes/pods "
	agent := func(block string, prints ...string) Check {
		return Check{Block: block, Script: printAgent, ScriptOutput: prints}
	}
	return Guide{
		File: "docs/platforms.md", Server: true,
		Before: `kubectl create namespace velero
kubectl apply -f - <<END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: shares}
provisioner: file.csi.azure.com
mountOptions: [mfsymlinks]
END`,
		Replace: map[string]string{"<YOUR_AZURE_FILE_STORAGE_CLASS_NAME>": "shares"},
		Checks: []Check{
			{
				Block:        "kubectl label namespace velero",
				Script:       "kubectl get namespace velero -o jsonpath='{.metadata.labels}'",
				ScriptOutput: []string{`"pod-security.kubernetes.io/enforce":"privileged"`},
			},
			agent("-k examples/rancheros", "host-pods /opt/rke/var/lib/kubelet/pods ", asInBase),
			{
				Block:        "oc annotate namespace velero",
				Script:       "kubectl get namespace velero -o jsonpath='{.metadata.annotations}'",
				ScriptOutput: []string{`"openshift.io/node-selector":""`},
			},
			agent("oc apply -k examples/openshift\n", usual, open),
			{
				Block: "oc adm policy add-scc-to-user privileged -z velero-restic -n velero\n",
				Script: "kubectl -n velero get rolebinding system:openshift:scc:privileged " +
					"-o jsonpath='{.roleRef.name} {.subjects}'",
				ScriptOutput: []string{
					"system:openshift:scc:privileged ", `"name":"velero-restic","namespace":"velero"`,
				},
			},
			agent(privilegedPatch, usual, open),
			agent("oc apply -k examples/openshift-scc", usual, asInBase, `"seLinuxOptions":{"type":"spc_t"}`),
			agent("oc create -n velero -f ds.yaml", usual, asInBase),
			agent("oc apply -k examples/openshift-3", old, open),
			agent(`"path":"/spec/template/spec/volumes/0/hostPath"`, old, open),
			agent("kubectl apply -k examples/pks", "host-pods /var/vcap/data/kubelet/pods ", asInBase),
			{
				Block:        "kubectl patch storageclass/",
				Script:       "kubectl get storageclass shares -o jsonpath='{.mountOptions}'",
				ScriptOutput: []string{`["mfsymlinks","nouser_xattr"]`},
			},
			{
				Block:        "kubectl apply -k examples/azure",
				Script:       "kubectl get storageclass azurefile-restic -o yaml",
				ScriptOutput: []string{"- nouser_xattr\n"},
			},
			agent("kubectl apply -k examples/selinux", usual, open),
			agent("kubectl apply -k examples/kubelet-root", "host-pods /var/lib/own/kubelet/pods ", asInBase),
		},
	}
}
