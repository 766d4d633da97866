// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster_test

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// TestOnce asks the same questions for two backups: the answer for one says nothing about the other.
func TestOnce(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{})
	broken := errors.New("connection refused")
	for step, test := range []struct {
		backup   types.UID
		question string
		answer   bool
		err      error
		asked    bool
	}{
		{backup: "one", question: "a", answer: false, asked: true},
		{backup: "one", question: "a", answer: true, err: broken, asked: true},
		{backup: "one", question: "a", answer: true, asked: true},
		{backup: "one", question: "a", answer: true},
		{backup: "one", question: "b", answer: false, asked: true},
		{backup: "two", question: "a", answer: false, asked: true},
		{backup: "two", question: "b", answer: true, asked: true},
		{backup: "two", question: "b", answer: true},
		{backup: "one", question: "b", answer: false, asked: true},
	} {
		asked := false
		got, err := c.Once(test.backup, test.question, func() (bool, error) {
			asked = true
			return test.answer, test.err
		})
		if got != test.answer || !errors.Is(err, test.err) || asked != test.asked {
			t.Errorf("step %d: answer %t, error %v, asked: %t, want %+v", step, got, err, asked, test)
		}
	}
}
