// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"
)

// SFTPServer is where to connect for a repository that is reached by SFTP. The key to sign in with and the keys of the
// server are the Files KeySSHPrivateKey and KeyKnownHosts.
type SFTPServer struct{ User, Host, Port string }

// plainWord matches what restic's splitting of a command leaves as one word, whatever is around it (restic v0.19.1,
// internal/backend/shell_split.go).
var plainWord = regexp.MustCompile(`^[^\s'"\\]+$`)

// configureSFTP finds the server, as restic does in its URL (restic v0.19.1, internal/backend/sftp/config.go), and
// makes sure that there is what it takes to sign in.
func configureSFTP(in Input, access *Access) error {
	name := settingName(in.Location, SettingPrefix)
	server, ok := sftpServer(access.URL)
	if !ok {
		return locationError(in.Location, "%s is not the URL of an SFTP server: write sftp:USER@HOST:/FOLDER, or "+
			"sftp://USER@HOST:PORT//FOLDER", name)
	}
	if server.User == "" {
		return locationError(in.Location, "%s names no user: write sftp:USER@%s:/FOLDER", name, server.Host)
	}
	for _, key := range []string{KeySSHPrivateKey, KeyKnownHosts} {
		if len(in.extraFiles[key]) > 0 {
			continue
		}
		return locationError(in.Location, "its repositories are reached by SFTP, and there is no %q to do so: make a "+
			"Secret with the keys %s (a private key without passphrase) and %s (a line of `ssh-keyscan %s`, "+
			"checked), and name it in annotation restic.velero.io/%s of the location", key, KeySSHPrivateKey,
			KeyKnownHosts, server.Host, SettingEnvSecret)
	}
	access.SFTP = &server
	return nil
}

func sftpServer(prefix string) (SFTPServer, bool) {
	var server SFTPServer
	if strings.HasPrefix(prefix, "sftp://") {
		parsed, err := url.Parse(prefix)
		if err != nil || parsed.Path == "" {
			return SFTPServer{}, false
		}
		server = SFTPServer{parsed.User.Username(), parsed.Hostname(), parsed.Port()}
	} else {
		host, _, found := strings.Cut(strings.TrimPrefix(prefix, "sftp:"), ":")
		if !found {
			return SFTPServer{}, false
		}
		at := strings.LastIndexByte(host, '@')
		server = SFTPServer{host[:max(at, 0)], host[at+1:], ""}
	}
	server.Port = cmp.Or(server.Port, "22")
	plain := plainWord.MatchString(server.Host) && (server.User == "" || plainWord.MatchString(server.User)) &&
		!strings.HasPrefix(server.Host, "-") && !strings.HasPrefix(server.User, "-")
	return server, plain
}
