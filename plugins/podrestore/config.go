// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// Resources of the init container without configuration, as Velero documents them.
const (
	defaultCPU    = "100m"
	defaultMemory = "128Mi"
)

// helperUser is the user of the helper's image.
const helperUser = 65532

// imageOf returns the image of the init container: the configured one, to which the tag of Velero's own image is added
// where it has none; else the one of this build; else the documented default with that tag. Warnings say what of the
// configuration was not used.
func imageOf(configured string, veleroImage func() (string, error)) (string, []string, error) {
	var warnings []string
	if configured != "" {
		if _, err := name.ParseReference(configured); err != nil {
			warnings = append(warnings, ignored(keyImage, err))
			configured = ""
		}
	}
	if configured == "" && version.HelperImage != "" {
		return version.HelperImage + ":" + version.Version, warnings, nil
	}
	image := orElse(configured, contract.DefaultRestoreHelperImage)
	if hasTag(image) {
		return image, warnings, nil
	}
	server, err := veleroImage()
	if err != nil {
		return "", nil, err
	}
	tag := tagOf(server)
	if tag == "" {
		tag = version.Version
		warnings = append(warnings, fmt.Sprintf("Velero's image %s has no tag to use for %s: %s is used. "+
			"Give key %s of the plugin's ConfigMap a tag", server, image, tag, keyImage))
	}
	return image + ":" + tag, warnings, nil
}

// hasTag says whether an image names its version, by tag or digest.
func hasTag(image string) bool { return strings.Contains(image, "@") || tagOf(image) != "" }

// tagOf returns the tag in an image's name, empty without one. A colon before the last slash is a registry's port.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	parsed, err := name.NewTag(image, name.WithDefaultTag(""))
	if err != nil || !strings.HasSuffix(image, ":"+parsed.TagStr()) {
		return ""
	}
	return parsed.TagStr()
}

// unknownKeys returns a warning for each key that means nothing: most likely one that is misspelled.
func unknownKeys(config map[string]string) []string {
	known := []string{
		keyImage, keyCommand, keyCPURequest, keyMemoryRequest, keyCPULimit, keyMemoryLimit, keyRunAsUser, keyRunAsGroup,
		keyPrivilegeEscalation, keySecurityContext,
	}
	var warnings []string
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if !slices.Contains(known, key) {
			warnings = append(warnings, fmt.Sprintf("key %s of the plugin's ConfigMap is ignored: the keys are %s",
				key, strings.Join(known, ", ")))
		}
	}
	return warnings
}

// resourcesOf returns the init container's requests and limits. "0" asks for none.
func resourcesOf(config map[string]string) (corev1.ResourceRequirements, []string) {
	out := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	var warnings []string
	set := func(list corev1.ResourceList, kind corev1.ResourceName, key, fallback string) {
		quantity, err := resource.ParseQuantity(orElse(strings.TrimSpace(config[key]), fallback))
		if err != nil || quantity.Sign() < 0 {
			warnings = append(warnings, fmt.Sprintf("key %s of the plugin's ConfigMap is %q, which is no quantity "+
				"such as %s or 0: %s is used", key, config[key], fallback, fallback))
			quantity = resource.MustParse(fallback)
		}
		list[kind] = quantity
	}
	set(out.Requests, corev1.ResourceCPU, keyCPURequest, defaultCPU)
	set(out.Requests, corev1.ResourceMemory, keyMemoryRequest, defaultMemory)
	set(out.Limits, corev1.ResourceCPU, keyCPULimit, defaultCPU)
	set(out.Limits, corev1.ResourceMemory, keyMemoryLimit, defaultMemory)
	for kind, limit := range out.Limits {
		request := out.Requests[kind]
		switch {
		case limit.IsZero():
			delete(out.Limits, kind)
		case request.Cmp(limit) > 0:
			// The API server would refuse the pod.
			warnings = append(warnings, fmt.Sprintf("the init container's %s request %s is above its limit %s: "+
				"the limit is raised to it. Set both in the plugin's ConfigMap",
				kind, request.String(), limit.String()))
			out.Limits[kind] = request
		}
	}
	for kind, request := range out.Requests {
		// Beside a limit, a request that is left out would become as high as the limit.
		if _, limited := out.Limits[kind]; request.IsZero() && !limited {
			delete(out.Requests, kind)
		}
	}
	return out, warnings
}

// securityOf returns the init container's security context: one that can look into the volumes, changed by the keys
// for single fields; or the one configured as a whole, whose fields win over those keys, as in Velero
// (velero v1.18.3, pkg/util/kube/security_context.go).
func securityOf(config map[string]string, pod *corev1.PodSpec) (*corev1.SecurityContext, []string) {
	security := inherited(pod)
	warnings := setFields(security, config)
	if text := config[keySecurityContext]; text != "" {
		whole := &corev1.SecurityContext{}
		_ = setFields(whole, config)
		if err := yaml.UnmarshalStrict([]byte(text), whole); err != nil {
			warnings = append(warnings, ignored(keySecurityContext, err))
		} else {
			security = whole
		}
	}
	if security.RunAsUser != nil && *security.RunAsUser == 0 && security.RunAsNonRoot != nil && *security.RunAsNonRoot {
		security.RunAsNonRoot = ptr.To(false) // the two contradict each other, and a user was asked for by name
	}
	return security, warnings
}

// setFields sets the fields that have a key each, and returns warnings for those that cannot be read.
func setFields(security *corev1.SecurityContext, config map[string]string) []string {
	var warnings []string
	for _, id := range []struct {
		key   string
		field **int64
	}{{keyRunAsUser, &security.RunAsUser}, {keyRunAsGroup, &security.RunAsGroup}} {
		text := config[id.key]
		if text == "" {
			continue
		}
		// The API server admits no larger ones (Kubernetes: apimachinery/pkg/util/validation, IsValidUserID).
		value, err := strconv.ParseInt(text, 10, 32)
		if err != nil || value < 0 {
			warnings = append(warnings, ignored(id.key, fmt.Errorf("%q is no numeric ID", text)))
			continue
		}
		*id.field = &value
	}
	if text := config[keyPrivilegeEscalation]; text != "" {
		allowed, err := strconv.ParseBool(text)
		if err != nil {
			return append(warnings, ignored(keyPrivilegeEscalation, fmt.Errorf("%q is neither true nor false", text)))
		}
		security.AllowPrivilegeEscalation = &allowed
	}
	return warnings
}

func ignored(key string, err error) string {
	return fmt.Sprintf("key %s of the plugin's ConfigMap is ignored: %v", key, err)
}

// inherited returns a security context that Pod Security "restricted" admits. Its user is the one that the pod, or its
// first container, names, who wrote the data; else, or if that is root, the helper's own. Whoever it is sees the
// markers, since the agent lets everybody reach them until the volume has its restored mode, and the helper keeps them
// open.
func inherited(pod *corev1.PodSpec) *corev1.SecurityContext {
	first, whole := &corev1.SecurityContext{}, &corev1.PodSecurityContext{}
	if len(pod.Containers) > 0 && pod.Containers[0].SecurityContext != nil {
		first = pod.Containers[0].SecurityContext
	}
	if pod.SecurityContext != nil {
		whole = pod.SecurityContext
	}
	out := &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		ReadOnlyRootFilesystem:   ptr.To(true),
		RunAsGroup:               either(first.RunAsGroup, whole.RunAsGroup),
		RunAsNonRoot:             ptr.To(true),
		RunAsUser:                either(first.RunAsUser, whole.RunAsUser),
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		SELinuxOptions:           first.SELinuxOptions.DeepCopy(), // of another level it could not read the volumes
	}
	if out.RunAsUser == nil || *out.RunAsUser == 0 {
		out.RunAsUser, out.RunAsGroup = ptr.To[int64](helperUser), orID(out.RunAsGroup, helperUser)
	}
	return out
}

// orID returns the ID, or another where there is none or it is root's.
func orID(id *int64, other int64) *int64 {
	if id == nil || *id == 0 {
		return &other
	}
	return id
}

func either[T any](first, second *T) *T {
	if first != nil {
		return first
	}
	return second
}
