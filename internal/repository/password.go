// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"bytes"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// wellKnownPassword is what Velero <= 1.18 puts into contract.PasswordSecretLegacy by itself when it starts and finds
// none (velero v1.18.3, pkg/repository/keys/keys.go). Everybody knows it.
const wellKnownPassword = "static-passw0rd"

// ErrNoPassword says that there is no Secret with a password. The error's text is NoPasswordMessage.
var ErrNoPassword = errors.New("there is no password for the restic repositories")

// Password is the password of the repositories, and where it is from.
type Password struct {
	// Value is the password, without white space around it: restic takes that off.
	Value []byte
	// Secret is the name of the Secret that holds it.
	Secret string
	// WellKnown says that it is the one that every Velero <= 1.18 makes by default. It opens repositories that were
	// made with it, but must not be used for a new one unless the administrator has said so.
	WellKnown bool
}

// PickPassword returns the password from the Secrets contract.PasswordSecret and contract.PasswordSecretLegacy in
// Velero's namespace, either of which may be nil. The first one that is there counts: if it has no password, that is
// an error and the other one is not looked at. Without both the error is ErrNoPassword.
func PickPassword(namespace string, secret, legacy *corev1.Secret) (Password, error) {
	name, found := contract.PasswordSecret, secret
	if found == nil {
		name, found = contract.PasswordSecretLegacy, legacy
	}
	if found == nil {
		return Password{}, fmt.Errorf("%w: %s", ErrNoPassword, NoPasswordMessage(namespace))
	}
	value := bytes.TrimSpace(found.Data[contract.PasswordSecretKey])
	if len(value) == 0 {
		return Password{}, fmt.Errorf("secret %s/%s has no password under the key %q: put the password of the "+
			"repositories there", namespace, name, contract.PasswordSecretKey)
	}
	return Password{Value: value, Secret: name, WellKnown: string(value) == wellKnownPassword}, nil
}

// NoPasswordMessage returns what to tell a user whose Velero namespace has no password for repositories.
func NoPasswordMessage(namespace string) string {
	return fmt.Sprintf("make one with: kubectl -n %s create secret generic %s "+
		"--from-literal=%s=\"$(openssl rand -base64 32)\" and keep a copy of it outside the cluster: without it no "+
		"backup can ever be read again", namespace, contract.PasswordSecret, contract.PasswordSecretKey)
}

// WellKnownMessage returns what to tell a user when a new repository would be made with the password that everybody
// knows.
func (p Password) WellKnownMessage(namespace string) string {
	return fmt.Sprintf("secret %s/%s holds the password that every Velero has by default, and so protects nothing: no "+
		"new repository is made with it; %s", namespace, p.Secret, NoPasswordMessage(namespace))
}
