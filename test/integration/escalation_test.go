// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// agentToken returns a client with a real token of the agents' service account, as a taken node has it.
func (a *annotated) agentToken(t *testing.T) (admin, agent *kubernetes.Clientset) {
	t.Helper()
	config := rest.CopyConfig(a.agent)
	config.Impersonate = rest.ImpersonationConfig{}
	admin, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := admin.CoreV1().ServiceAccounts("velero").CreateToken(t.Context(), "velero-restic",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	anonymous := rest.AnonymousClientConfig(config)
	anonymous.BearerToken = request.Status.Token
	agent, err = kubernetes.NewForConfig(anonymous)
	if err != nil {
		t.Fatal(err)
	}
	return admin, agent
}

// ownJob returns the Job that the leader creates for an operation.
func ownJob(t *testing.T, admin *kubernetes.Clientset, operation resticv1.MaintenanceOperation) *batchv1.Job {
	t.Helper()
	daemonSet, err := admin.AppsV1().DaemonSets("velero").Get(t.Context(), "restic", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	repository := &resticv1.ResticRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "shop-default", UID: "uid"},
		Spec:       resticv1.ResticRepositorySpec{VolumeNamespace: "shop", BackupStorageLocation: "default"},
	}
	entry := &resticv1.Maintenance{Operation: operation, StartTime: metav1.Now(), Host: "dead-agent"}
	entry.Job = jobspec.Name(repository, entry)
	settings, problems := jobspec.ReadSettings(nil, repository)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	job, err := jobspec.Build(daemonSet, repository, entry, settings)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// forbiddenJobs are changes of the leader's Job that would give the holder of an agent's token more than the agent has.
func forbiddenJobs() map[string]func(*corev1.PodSpec) {
	hostPath := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	return map[string]func(*corev1.PodSpec){
		"Velero's service account": func(p *corev1.PodSpec) { p.ServiceAccountName = "velero" },
		"the default account":      func(p *corev1.PodSpec) { p.ServiceAccountName = "default" },
		"a folder of the node": func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "root", VolumeSource: hostPath})
		},
		"the pods of the node": func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "host-pods", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/var/lib/kubelet/pods"},
			}})
		},
		"a folder of the node as scratch": func(p *corev1.PodSpec) {
			for i := range p.Volumes {
				if p.Volumes[i].Name == "scratch" {
					p.Volumes[i].VolumeSource = hostPath
				}
			}
		},
		"another Secret": func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "secret", VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: "other"},
			}})
		},
		"a token for another audience": func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
					ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "vault", Path: "token"},
				}}},
			}})
		},
		"a privileged container": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
		},
		"a capability": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
		},
		"privilege escalation": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
		},
		"no security context": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext = nil },
		"another image":       func(p *corev1.PodSpec) { p.Containers[0].Image = "example.com/evil" },
		"another command":     func(p *corev1.PodSpec) { p.Containers[0].Command = []string{"/bin/sh"} },
		"another subcommand":  func(p *corev1.PodSpec) { p.Containers[0].Args = []string{"sftp", "--host=evil"} },
		"another environment": func(p *corev1.PodSpec) {
			p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/scratch/x"})
		},
		"a hook": func(p *corev1.PodSpec) {
			p.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
				Exec: &corev1.ExecAction{Command: []string{"/bin/sh"}},
			}}
		},
		"a second container": func(p *corev1.PodSpec) {
			p.Containers = append(p.Containers, corev1.Container{Name: "more", Image: "example.com/evil"})
		},
		"an init container": func(p *corev1.PodSpec) {
			p.InitContainers = append(p.InitContainers, corev1.Container{Name: "more", Image: "example.com/evil"})
		},
		"processes of the node":   func(p *corev1.PodSpec) { p.HostPID = true },
		"IPC of the node":         func(p *corev1.PodSpec) { p.HostIPC = true },
		"the network of a node":   func(p *corev1.PodSpec) { p.HostNetwork = true },
		"a node of its choice":    func(p *corev1.PodSpec) { p.NodeName = "control-plane" },
		"other addresses":         func(p *corev1.PodSpec) { p.HostAliases = []corev1.HostAlias{{IP: "1.2.3.4"}} },
		"another name server":     func(p *corev1.PodSpec) { p.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"1.2.3.4"}} },
		"another runtime handler": func(p *corev1.PodSpec) { p.RuntimeClassName = ptr.To("unconfined") },
	}
}

// TestAgentTokenCannotEscalate tries what somebody could do with the token of a node's agent.
func TestAgentTokenCannotEscalate(t *testing.T) {
	a := newAnnotated(t)
	base, err := filepath.Abs("../../examples/base")
	if err != nil {
		t.Fatal(err)
	}
	a.kubectl("apply -k " + base)
	admin, agent := a.agentToken(t)
	jobs := agent.BatchV1().Jobs("velero")
	create := func(job *batchv1.Job) error {
		_, err := jobs.Create(t.Context(), job, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	t.Run("Jobs", func(t *testing.T) {
		a.awaitJobPolicy(t, func() error {
			job := ownJob(t, admin, resticv1.OperationCheck)
			job.Spec.Template.Spec.ServiceAccountName = "velero"
			return create(job)
		})
		for _, operation := range []resticv1.MaintenanceOperation{
			resticv1.OperationCheck, resticv1.OperationPrune, resticv1.OperationUnlock, resticv1.OperationSnapshots,
		} {
			if err := create(ownJob(t, admin, operation)); err != nil {
				t.Errorf("the leader cannot create its own Job for %s: %v", operation, err)
			}
		}
		for name, change := range forbiddenJobs() {
			job := ownJob(t, admin, resticv1.OperationCheck)
			change(&job.Spec.Template.Spec)
			if err := create(job); err == nil || !strings.Contains(err.Error(), "'velero-restic-jobs'") {
				t.Errorf("a Job with %s: got %v, want the refusal of the admission policy", name, err)
			}
		}
		parallel := ownJob(t, admin, resticv1.OperationCheck)
		parallel.Spec.Parallelism, parallel.Spec.Completions = ptr.To(int32(100)), ptr.To(int32(100))
		if err := create(parallel); !apierrors.IsInvalid(err) {
			t.Errorf("a Job with 100 pods: got %v", err)
		}
	})
	t.Run("Jobs of users in other namespaces", func(t *testing.T) {
		job := ownJob(t, admin, resticv1.OperationCheck)
		job.Namespace, job.Spec.Template.Spec.ServiceAccountName = "default", "default"
		_, err := admin.BatchV1().Jobs(job.Namespace).Create(t.Context(), job,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Errorf("the admission policy for agents rejects the Job of an administrator: %v", err)
		}
	})
	for name, attempt := range forbiddenRequests(agent) {
		t.Run(name, func(t *testing.T) {
			if err := attempt(t.Context()); !apierrors.IsForbidden(err) {
				t.Errorf("got %v, want it forbidden", err)
			}
		})
	}
}

// awaitJobPolicy waits until the API server enforces the admission policy, which takes it a moment.
func (a *annotated) awaitJobPolicy(t *testing.T, attempt func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = attempt(); apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			return
		}
	}
	t.Fatalf("an agent can create a Job under Velero's account: %v", err)
}

// forbiddenRequests are requests that RBAC must refuse.
func forbiddenRequests(agent *kubernetes.Clientset) map[string]func(context.Context) error {
	core, namespace := agent.CoreV1(), "velero"
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "evil"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "evil", Image: "example.com/evil"}}},
	}
	patch := func(ctx context.Context, path string) error {
		return agent.RESTClient().Patch(types.MergePatchType).AbsPath(path).Body([]byte(`{}`)).Do(ctx).Error()
	}
	return map[string]func(context.Context) error{
		"create a pod": func(ctx context.Context) error {
			_, err := core.Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
			return err
		},
		"exec into Velero": func(ctx context.Context) error {
			return core.RESTClient().Post().Namespace(namespace).Resource("pods").Name("velero").SubResource("exec").
				Param("command", "sh").Do(ctx).Error()
		},
		"list Secrets": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).List(ctx, metav1.ListOptions{})
			return err
		},
		"read a Secret of another namespace": func(ctx context.Context) error {
			_, err := core.Secrets("shop").Get(ctx, "database", metav1.GetOptions{})
			return err
		},
		"write a Secret": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x"}},
				metav1.CreateOptions{})
			return err
		},
		"make a token of Velero's account": func(ctx context.Context) error {
			_, err := core.ServiceAccounts(namespace).CreateToken(ctx, "velero", &authenticationv1.TokenRequest{},
				metav1.CreateOptions{})
			return err
		},
		"impersonate an administrator": func(ctx context.Context) error {
			return core.RESTClient().Get().Namespace("shop").Resource("secrets").
				SetHeader("Impersonate-User", "admin").SetHeader("Impersonate-Group", "system:masters").Do(ctx).Error()
		},
		"bind a role": func(ctx context.Context) error {
			return patch(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/velero-restic")
		},
		"change its own role": func(ctx context.Context) error {
			return patch(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterroles/velero-restic")
		},
		"change the DaemonSet": func(ctx context.Context) error {
			return patch(ctx, "/apis/apps/v1/namespaces/velero/daemonsets/restic")
		},
		"change Velero's Deployment": func(ctx context.Context) error {
			return patch(ctx, "/apis/apps/v1/namespaces/velero/deployments/velero")
		},
		"change a storage location": func(ctx context.Context) error {
			return patch(ctx, "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default")
		},
		"change a pod":  func(ctx context.Context) error { return patch(ctx, "/api/v1/namespaces/shop/pods/web") },
		"change a Job":  func(ctx context.Context) error { return patch(ctx, "/apis/batch/v1/namespaces/velero/jobs/x") },
		"change a node": func(ctx context.Context) error { return patch(ctx, "/api/v1/nodes/node") },
		"lift the policy for Jobs": func(ctx context.Context) error {
			return patch(ctx, fmt.Sprintf("/apis/admissionregistration.k8s.io/v1/%s/velero-restic-jobs",
				"validatingadmissionpolicybindings"))
		},
		"create a Job in another namespace": func(ctx context.Context) error {
			_, err := agent.BatchV1().Jobs("shop").Create(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "x"}},
				metav1.CreateOptions{})
			return err
		},
		"create a CronJob": func(ctx context.Context) error {
			_, err := agent.BatchV1().CronJobs(namespace).Create(ctx, &batchv1.CronJob{
				ObjectMeta: metav1.ObjectMeta{Name: "x"},
			}, metav1.CreateOptions{})
			return err
		},
		"take the Lease of the scheduler": func(ctx context.Context) error {
			_, err := agent.CoordinationV1().Leases("kube-system").Get(ctx, "kube-scheduler", metav1.GetOptions{})
			return err
		},
		"write an object of another namespace": func(ctx context.Context) error {
			return patch(ctx, "/apis/restic.velero.io/v1/namespaces/shop/podvolumerestores/x")
		},
	}
}
