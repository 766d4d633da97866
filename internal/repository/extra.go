// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import "regexp"

// Keys of Secrets that are files, though they, or some of them, could be names of variables.
const (
	// KeySSHPrivateKey is the key of Secrets of type kubernetes.io/ssh-auth (corev1.SSHAuthPrivateKey).
	KeySSHPrivateKey = "ssh-privatekey"
	// KeyKnownHosts is a file in the format of OpenSSH (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
	KeyKnownHosts = "known_hosts"
	// KeyRcloneConfig is a file as `rclone config` writes it.
	KeyRcloneConfig = "rclone.conf"
)

// FilesPlaceholder in the value of a variable of Input.Extra, stands for the folder with the files of Input.Extra, so
// that one can name the other: RESTIC_TLS_CLIENT_CERT=$(FILES)/client.pem. Whoever writes the files puts it in.
const FilesPlaceholder = "$(FILES)"

// variableName matches the names that a shell can set (POSIX.1-2017, XBD 8.1).
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// splitExtra tells variables and files apart.
func splitExtra(extra map[string][]byte) (env map[string]string, files map[string][]byte) {
	env, files = map[string]string{}, map[string][]byte{}
	for key, value := range extra {
		if key == KeyKnownHosts || !variableName.MatchString(key) {
			files[key] = value
			continue
		}
		env[key] = string(value)
	}
	return env, files
}
