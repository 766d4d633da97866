// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// explain returns what to say of an error, and what the user can do about it. Errors that tell the latter themselves
// are left as they are.
func (e *Environment) explain(err error) (code ExitCode, said, next string) {
	code = CodeOf(err)
	var end *Error
	if errors.As(err, &end) {
		if end.Err == nil {
			return code, "", end.Next
		}
		if end.Next != "" {
			return code, end.Err.Error(), end.Next
		}
	}
	var request *url.Error
	var network net.Error
	var kubeconfig *configError
	switch {
	case code == ExitInterrupted:
		return code, "stopped before the end", ""
	case errors.As(err, &kubeconfig):
		return code, firstLine(err), e.configNext()
	case apierrors.IsUnauthorized(err):
		return code, err.Error(), "the API server does not know you" + e.contextText() +
			": log in again, or choose another context with --context"
	case apierrors.IsForbidden(err):
		return code, err.Error(), e.forbiddenNext(err)
	case notInstalled(err):
		return code, missingText(err), e.installNext(err)
	case errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &request):
		return code, err.Error(), ""
	case errors.As(err, &request), errors.As(err, &network):
		return ExitFailure, err.Error(), "the API server cannot be reached" + e.contextText() +
			": see whether 'kubectl cluster-info' works; " + e.configNext()
	}
	return code, err.Error(), ""
}

// configError is a kubeconfig that cannot be used.
type configError struct{ err error }

func (e *configError) Error() string { return "reading the kubeconfig: " + e.err.Error() }

func (e *configError) Unwrap() error { return e.err }

// firstLine leaves out kubectl's advice of several lines, which names commands that this program has not.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimRight(line, " .:")
}

func (e *Environment) configNext() string {
	raw, err := e.Kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil || len(raw.Contexts) == 0 {
		return "name a kubeconfig with --kubeconfig or the environment variable KUBECONFIG"
	}
	return "choose one of the kubeconfig's contexts with --context: " + list(slices.Sorted(maps.Keys(raw.Contexts)))
}

// contextText says which cluster it is about.
func (e *Environment) contextText() string {
	config, err := e.Config()
	if err != nil {
		return ""
	}
	name := ""
	if raw, err := e.Kube.ToRawKubeConfigLoader().RawConfig(); err == nil {
		name = raw.CurrentContext
	}
	if chosen := e.Kube.Context; chosen != nil && *chosen != "" {
		name = *chosen
	}
	if name == "" {
		return " (" + config.Host + ")"
	}
	return fmt.Sprintf(" (context %s, %s)", name, config.Host)
}

// forbiddenNext names the right that is missing, in the words of a Role, and how to give it.
func (e *Environment) forbiddenNext(err error) string {
	refused := ""
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		// "x is forbidden: User "u" cannot VERB resource "r" in API group "g" …" (k8s.io/apiserver, responsewriters).
		_, refused, _ = strings.Cut(status.Status().Message, " cannot ")
	}
	bind := "kubectl -n " + e.Namespace() + " create rolebinding NAME --clusterrole=velero-restic-operator --user=USER"
	if outsideNamespace(refused, e.Namespace()) {
		bind = "kubectl create clusterrolebinding NAME --clusterrole=velero-restic-coverage --user=USER"
	}
	next := "examples/cli has roles for the users of this program:\nkubectl apply -k examples/cli\n" + bind
	if refused == "" {
		return next
	}
	return "ask whoever administers the cluster for the right to " + refused + ":\n" + next
}

// beyond says whether a right that is missing is one outside Velero's namespace, which no Role there can give.
func outsideNamespace(refused, namespace string) bool {
	if strings.Contains(refused, " at the cluster scope") {
		return true
	}
	_, where, found := strings.Cut(refused, ` in the namespace "`)
	return found && !strings.HasPrefix(where, namespace+`"`)
}

// notInstalled says whether the API server does not have the kind at all, unlike an object of it.
func notInstalled(err error) bool {
	if meta.IsNoMatchError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	if details == nil {
		return true
	}
	return slices.ContainsFunc(details.Causes, func(cause metav1.StatusCause) bool {
		return cause.Type == metav1.CauseTypeUnexpectedServerResponse
	})
}

// groupOf returns the API group that an error is about, and the resource or kind; empty where it does not say.
func groupOf(err error) (group, resource string) {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		return status.Status().Details.Group, status.Status().Details.Kind
	}
	// Clients that discover what the cluster has fail before they ask. Discovery itself says such an error of the group
	// (sigs.k8s.io/controller-runtime v0.21.0, pkg/client/apiutil, ErrResourceDiscoveryFailed).
	var noKind *meta.NoKindMatchError
	if errors.As(err, &noKind) {
		return noKind.GroupKind.Group, noKind.GroupKind.Kind
	}
	var noResource *meta.NoResourceMatchError
	if errors.As(err, &noResource) {
		return noResource.PartialResource.Group, noResource.PartialResource.Resource
	}
	return "", ""
}

func missingText(err error) string {
	group, resource := groupOf(err)
	if group == "" {
		return err.Error()
	}
	kind := strings.TrimPrefix(resource+"."+group, ".")
	return fmt.Sprintf("the cluster does not know %s: %s is not installed in it", kind, owner(group))
}

func owner(group string) string {
	switch group {
	case resticv1.GroupName:
		return "restic for Velero"
	case velerov1.SchemeGroupVersion.Group:
		return "Velero"
	}
	return "what brings it"
}

func (e *Environment) installNext(err error) string {
	next := "see whether this is the cluster you mean" + e.contextText()
	switch group, _ := groupOf(err); group {
	case resticv1.GroupName:
		next += "; to install: kubectl apply -k examples/base (docs/install.md)"
	case velerov1.SchemeGroupVersion.Group:
		next += "; to install: velero install (https://velero.io/docs)"
	}
	return next
}

// listed is how many names a message gives.
const maxListed = 10

// list joins names for a message, the first of them where there are many.
func list(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}
