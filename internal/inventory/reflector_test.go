// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// TestPageOmitsVersion passes the options that client-go's reflector uses after a watch failed as too old. With the
// version of the last object and a limit, the API server would keep returning a list of that version.
func TestPageOmitsVersion(t *testing.T) {
	var asked metav1.ListOptions
	c := fake.NewClientBuilder().WithObjects(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: "web", Labels: map[string]string{"a": "b"}}},
	).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			asked = *(&client.ListOptions{}).ApplyOptions(options).AsListOptions()
			return c.List(ctx, list)
		},
	}).Build()
	f := &reflector{what: "pods", list: &corev1.PodList{}, strip: func(object runtime.Object) {
		if pod, isPod := object.(*corev1.Pod); isPod {
			pod.Labels = nil
		}
	}}
	for options, token := range map[metav1.ListOptions]string{
		{ResourceVersion: "0", Limit: pageSize}:                         "",
		{ResourceVersion: "1852", Limit: pageSize}:                      "",
		{ResourceVersion: "1852", ResourceVersionMatch: "NotOlderThan"}: "",
		{Continue: "where the last page ended", Limit: pageSize}:        "where the last page ended",
	} {
		list, err := f.page(t.Context(), c, options)
		if err != nil {
			t.Fatal(err)
		}
		if asked.ResourceVersion != "" || asked.ResourceVersionMatch != "" || asked.Continue != token ||
			asked.Limit != options.Limit {
			t.Errorf("%+v becomes %+v", options, asked)
		}
		if pods, isList := list.(*corev1.PodList); !isList || len(pods.Items) != 1 || len(pods.Items[0].Labels) != 0 {
			t.Errorf("the list is %v", list)
		}
	}
}
