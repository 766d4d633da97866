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

// explain returns the error message to print, and what the user can do next. It keeps the Next of an Error.
func (e *Environment) explain(err error) (code ExitCode, message, next string) {
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
		return code, "interrupted", ""
	case errors.As(err, &kubeconfig):
		return code, firstLine(err), e.configNext()
	case apierrors.IsUnauthorized(err):
		return code, err.Error(), "the API server rejected your credentials" + e.contextText() +
			": log in again, or choose another context with --context"
	case apierrors.IsForbidden(err):
		return code, err.Error(), e.forbiddenNext(err)
	case notInstalled(err):
		return code, missingText(err), e.installNext(err)
	case errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &request):
		return code, err.Error(), ""
	case errors.As(err, &request), errors.As(err, &network):
		return ExitFailure, err.Error(), "the API server cannot be reached" + e.contextText() +
			": check with 'kubectl cluster-info'; " + e.configNext()
	}
	return code, err.Error(), ""
}

// configError is an error in the kubeconfig.
type configError struct{ err error }

func (e *configError) Error() string { return "reading the kubeconfig: " + e.err.Error() }

func (e *configError) Unwrap() error { return e.err }

// firstLine returns the first line. The other lines of client-go's error suggest commands of kubectl.
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

// contextText describes the cluster of the command, in parentheses.
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

// forbiddenNext names the missing permission as in a Role, and how to grant it.
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
	return "ask an administrator of the cluster for permission to " + refused + ":\n" + next
}

// outsideNamespace returns whether a Role in Velero's namespace cannot grant the missing permission.
func outsideNamespace(refused, namespace string) bool {
	if strings.Contains(refused, " at the cluster scope") {
		return true
	}
	_, where, found := strings.Cut(refused, ` in the namespace "`)
	return found && !strings.HasPrefix(where, namespace+`"`)
}

// notInstalled returns whether the API server does not serve the kind.
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

// groupOf returns the API group and the resource or kind that an error is about; empty if it has none.
func groupOf(err error) (group, resource string) {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		return status.Status().Details.Group, status.Status().Details.Kind
	}
	// Clients that use discovery fail before the request. Discovery reports the group only
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
	return fmt.Sprintf("the cluster has no %s: %s is not installed", kind, owner(group))
}

func owner(group string) string {
	switch group {
	case resticv1.GroupName:
		return "restic for Velero"
	case velerov1.SchemeGroupVersion.Group:
		return "Velero"
	}
	return "its operator"
}

func (e *Environment) installNext(err error) string {
	next := "check that this is the right cluster" + e.contextText()
	switch group, _ := groupOf(err); group {
	case resticv1.GroupName:
		next += "; to install: kubectl apply -k examples/base (docs/install.md)"
	case velerov1.SchemeGroupVersion.Group:
		next += "; to install: velero install (https://velero.io/docs)"
	}
	return next
}

// maxListed is the maximum number of names in a message.
const maxListed = 10

// list joins names for a message.
func list(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}
