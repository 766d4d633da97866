// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command_test

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// TestPrint compares the format of Kubernetes objects and of other values.
func TestPrint(t *testing.T) {
	object := &corev1.ObjectReference{Name: "web"}
	for format, want := range map[command.Format]string{
		command.FormatJSON: "{\n    \"name\": \"web\"\n}\n", command.FormatYAML: "name: web\n",
	} {
		var out bytes.Buffer
		env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out}, command.Screen{}, "velero")
		output := &command.Output{Format: format}
		if err := output.PrintValue(env, object); err != nil || out.String() != want {
			t.Errorf("%s of a value is %q (%v), want %q", format, out.String(), err, want)
		}
	}
	var out bytes.Buffer
	env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out}, command.Screen{}, "velero")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	output := &command.Output{Format: command.FormatJSON}
	if err := output.Print(env, namespace); err != nil || !bytes.HasPrefix(out.Bytes(), []byte("{\n    \"kind\"")) {
		t.Errorf("JSON of an object is %q (%v)", out.String(), err)
	}
}
