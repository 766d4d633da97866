// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package agenttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// apiServer answers reads over HTTP. A fake client does not show what a cache asks the API server for: this does, since
// it applies namespaces, field selectors and label selectors as the API server would. Its watches report nothing.
type apiServer struct {
	scheme  *runtime.Scheme
	objects map[schema.GroupVersionResource][]*unstructured.Unstructured
}

// NewAPIServer starts an API server that has the objects, of kinds of the scheme, until the test ends.
func NewAPIServer(t *testing.T, scheme *runtime.Scheme, objects ...client.Object) *rest.Config {
	t.Helper()
	s := &apiServer{scheme: scheme, objects: map[schema.GroupVersionResource][]*unstructured.Unstructured{}}
	for _, object := range objects {
		kind, err := apiutil.GVKForObject(object, scheme)
		if err != nil {
			t.Fatal(err)
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			t.Fatal(err)
		}
		converted := &unstructured.Unstructured{Object: content}
		converted.SetGroupVersionKind(kind)
		resource, _ := meta.UnsafeGuessKindToResource(kind)
		s.objects[resource] = append(s.objects[resource], converted)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, &metav1.APIVersions{
			TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
		})
	})
	mux.HandleFunc("GET /apis", s.groups)
	for _, root := range []string{"/api/{version}", "/apis/{group}/{version}"} {
		mux.HandleFunc("GET "+root, s.resources)
		mux.HandleFunc("GET "+root+"/{resource}", s.list)
		mux.HandleFunc("GET "+root+"/{resource}/{name}", s.get)
		mux.HandleFunc("GET "+root+"/namespaces/{namespace}/{resource}", s.list)
		mux.HandleFunc("GET "+root+"/namespaces/{namespace}/{resource}/{name}", s.get)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections() // ends the watches
		server.Close()
	})
	return &rest.Config{Host: server.URL}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	answer(w, code, &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code),
		Reason: reason, Message: string(reason),
	})
}

func (s *apiServer) groups(w http.ResponseWriter, _ *http.Request) {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, version := range s.scheme.PrioritizedVersionsAllGroups() {
		if version.Group == "" {
			continue
		}
		discovered := metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version}
		list.Groups = append(list.Groups, metav1.APIGroup{
			Name: version.Group, Versions: []metav1.GroupVersionForDiscovery{discovered}, PreferredVersion: discovered,
		})
	}
	answer(w, http.StatusOK, list)
}

func (s *apiServer) resources(w http.ResponseWriter, request *http.Request) {
	version := versionOf(request)
	list := &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version.String(),
	}
	clusterScoped := map[string]bool{"Namespace": true, "Node": true, "PersistentVolume": true}
	for kind := range s.scheme.KnownTypes(version) {
		resource, singular := meta.UnsafeGuessKindToResource(version.WithKind(kind))
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: resource.Resource, SingularName: singular.Resource, Kind: kind, Namespaced: !clusterScoped[kind],
			Verbs: metav1.Verbs{"get", "list", "watch"},
		})
	}
	answer(w, http.StatusOK, list)
}

func (s *apiServer) kindOf(request *http.Request) string {
	version := versionOf(request)
	for kind := range s.scheme.KnownTypes(version) {
		if resource, _ := meta.UnsafeGuessKindToResource(version.WithKind(kind)); resource.Resource ==
			request.PathValue("resource") {
			return kind
		}
	}
	return ""
}

func versionOf(request *http.Request) schema.GroupVersion {
	return schema.GroupVersion{Group: request.PathValue("group"), Version: request.PathValue("version")}
}

func (s *apiServer) list(w http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	switch {
	case query.Get("sendInitialEvents") != "":
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid) // the client lists instead
		return
	case query.Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // the client has gone
		<-request.Context().Done()
		return
	}
	selected, err := s.selected(request)
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	items := make([]any, 0, len(selected))
	for _, object := range selected {
		items = append(items, object.Object)
	}
	answer(w, http.StatusOK, map[string]any{
		"kind": s.kindOf(request) + "List", "apiVersion": versionOf(request).String(),
		"metadata": map[string]any{"resourceVersion": "1"}, "items": items,
	})
}

// selected returns the objects that a request is about.
func (s *apiServer) selected(request *http.Request) ([]*unstructured.Unstructured, error) {
	query := request.URL.Query()
	byField, err := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil {
		return nil, fmt.Errorf("reading the field selector: %w", err)
	}
	byLabel, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		return nil, fmt.Errorf("reading the label selector: %w", err)
	}
	var selected []*unstructured.Unstructured
	for _, object := range s.objects[versionOf(request).WithResource(request.PathValue("resource"))] {
		values := fields.Set{}
		for _, requirement := range byField.Requirements() {
			path := strings.Split(requirement.Field, ".")
			values[requirement.Field], _, _ = unstructured.NestedString(object.Object, path...)
		}
		namespace := request.PathValue("namespace")
		if (namespace == "" || object.GetNamespace() == namespace) && byField.Matches(values) &&
			byLabel.Matches(labels.Set(object.GetLabels())) {
			selected = append(selected, object)
		}
	}
	return selected, nil
}

func (s *apiServer) get(w http.ResponseWriter, request *http.Request) {
	selected, err := s.selected(request)
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	for _, object := range selected {
		if object.GetName() == request.PathValue("name") {
			answer(w, http.StatusOK, object.Object)
			return
		}
	}
	refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
}
