// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

func TestRequireVelero(t *testing.T) {
	in := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	get := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object,
			...client.GetOption,
		) error {
			return err
		}}
	}
	list := func(err error) interceptor.Funcs {
		return interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return err
		}}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))
	for name, test := range map[string]struct {
		objects []client.Object
		funcs   interceptor.Funcs
		says    string
	}{
		"its Deployment":                          {objects: []client.Object{&appsv1.Deployment{ObjectMeta: in("velero", "velero")}}},
		"a storage location":                      {objects: []client.Object{&velerov1.BackupStorageLocation{ObjectMeta: in("velero", "s3")}}},
		"nothing":                                 {says: "there is no Velero in namespace velero"},
		"both, in another namespace":              {objects: []client.Object{&appsv1.Deployment{ObjectMeta: in("backup", "velero")}, &velerov1.BackupStorageLocation{ObjectMeta: in("backup", "s3")}}, says: "there is no Velero in namespace velero"},
		"no permission to read the Deployment":    {funcs: get(forbidden)},
		"no permission to list storage locations": {funcs: list(forbidden)},
		"the API server does not answer":          {funcs: get(errors.New("connection refused")), says: "looking for Velero: connection refused"},
		"the API server stops answering":          {funcs: list(errors.New("connection refused")), says: "storage locations: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			scheme, err := command.NewScheme()
			if err != nil {
				t.Fatal(err)
			}
			env := command.NewEnvironment(genericiooptions.IOStreams{}, command.Screen{}, "velero")
			server := "https://192.0.2.1"
			env.Kube.APIServer = &server
			env.NewClient = func(*rest.Config) (client.WithWatch, error) {
				return fake.NewClientBuilder().WithScheme(scheme).WithObjects(test.objects...).WithInterceptorFuncs(test.funcs).
					Build(), nil
			}
			got := ""
			if err := env.RequireVelero(t.Context()); err != nil {
				got = err.Error()
				if command.CodeOf(err) != command.ExitFailure {
					t.Errorf("exit code %d", command.CodeOf(err))
				}
			}
			if got == "" != (test.says == "") || !strings.Contains(got, test.says) {
				t.Errorf("got error %q, want %q", got, test.says)
			}
		})
	}
}
