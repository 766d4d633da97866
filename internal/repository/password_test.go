// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func secret(value string) *corev1.Secret {
	return &corev1.Secret{Data: map[string][]byte{contract.PasswordSecretKey: []byte(value)}}
}

func TestPickPassword(t *testing.T) {
	cases := map[string]struct {
		secret, legacy *corev1.Secret
		want           Password
		says           string
	}{
		"our own wins": {
			secret: secret("mine\n"), legacy: secret("static-passw0rd"),
			want: Password{Value: []byte("mine"), Secret: "velero-restic-credentials"},
		},
		"the legacy one": {
			legacy: secret("theirs"), want: Password{Value: []byte("theirs"), Secret: "velero-repo-credentials"},
		},
		"the one that everybody knows": {
			legacy: secret("static-passw0rd"),
			want:   Password{Value: []byte("static-passw0rd"), Secret: "velero-repo-credentials", WellKnown: true},
		},
		"the one that everybody knows, in our own": {
			secret: secret("static-passw0rd\n"),
			want:   Password{Value: []byte("static-passw0rd"), Secret: "velero-restic-credentials", WellKnown: true},
		},
		"an empty one does not fall back": {
			secret: secret(" \n"), legacy: secret("theirs"), says: "velero/velero-restic-credentials has no password",
		},
		"another key": {
			secret: &corev1.Secret{Data: map[string][]byte{"password": []byte("x")}}, says: `"repository-password"`,
		},
		"none": {says: "kubectl -n velero create secret generic velero-restic-credentials " +
			`--from-literal=repository-password="$(openssl rand -base64 32)"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := PickPassword("velero", c.secret, c.legacy)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (c.says != "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got error %v", err)
			}
			if errors.Is(err, ErrNoPassword) != (c.secret == nil && c.legacy == nil) {
				t.Errorf("got error %v", err)
			}
		})
	}
}
