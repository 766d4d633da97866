// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type extra = map[string][]byte

func prefixed(prefix string) config { return config{SettingPrefix: prefix} }

// TestPrefix has every backend that a location can only name by resticRepoPrefix.
func TestPrefix(t *testing.T) {
	keys := extra{KeySSHPrivateKey: []byte("key"), KeyKnownHosts: []byte("known")}
	cases := map[string]struct {
		prefix string
		extra  extra
		// credential is the location's own.
		credential string
		url        string
		identifier string
		folder     string
		env        config
		envFiles   config
		files      []string
		sftp       *SFTPServer
	}{
		"B2, with its keys in the location's credential": {
			prefix: "b2:bucket:some/folder", credential: "B2_ACCOUNT_ID=id\nB2_ACCOUNT_KEY=key\n",
			url: "b2:bucket:some/folder/shop", env: config{"B2_ACCOUNT_ID": "id", "B2_ACCOUNT_KEY": "key"},
		},
		"B2, with its keys in a Secret": {
			prefix: "b2:bucket:", extra: extra{"B2_ACCOUNT_ID": []byte("id")},
			url: "b2:bucket:/shop", env: config{"B2_ACCOUNT_ID": "id"},
		},
		"Swift": {
			prefix: "swift:container:/path", extra: extra{"OS_AUTH_URL": []byte("https://keystone"), "ST_KEY": []byte("k")},
			url: "swift:container:/path/shop", env: config{"OS_AUTH_URL": "https://keystone", "ST_KEY": "k"},
		},
		"a REST server, with its user in a Secret": {
			prefix: "rest:https://backup.example.com:8000/velero/",
			extra:  extra{"RESTIC_REST_USERNAME": []byte("u"), "RESTIC_REST_PASSWORD": []byte("p")},
			url:    "rest:https://backup.example.com:8000/velero/shop",
			env:    config{"RESTIC_REST_USERNAME": "u", "RESTIC_REST_PASSWORD": "p"},
		},
		"a REST server, with its user in the URL": {
			prefix: "rest:https://u:p%40ss@h:8000/", url: "rest:https://u:p%40ss@h:8000/shop",
			identifier: "rest:https://u:***@h:8000/shop",
		},
		"a REST server that asks for a certificate": {
			prefix: "rest:https://h/", url: "rest:https://h/shop", files: []string{"client.pem"},
			extra: extra{"RESTIC_TLS_CLIENT_CERT": []byte("$(FILES)/client.pem"), "client.pem": []byte("pem")},
			env:   config{"RESTIC_TLS_CLIENT_CERT": "$(FILES)/client.pem"},
		},
		"rclone, with variables": {
			prefix: "rclone:nas:backup/velero", extra: extra{"RCLONE_CONFIG_NAS_TYPE": []byte("webdav")},
			url: "rclone:nas:backup/velero/shop", env: config{"RCLONE_CONFIG_NAS_TYPE": "webdav"},
		},
		"rclone, with its file": {
			prefix: "rclone:nas:", extra: extra{KeyRcloneConfig: []byte("[nas]")}, url: "rclone:nas:/shop",
			envFiles: config{"RCLONE_CONFIG": KeyRcloneConfig}, files: []string{KeyRcloneConfig},
		},
		"SFTP": {
			prefix: "sftp:restic@nas:/srv/restic", extra: keys, url: "sftp:restic@nas:/srv/restic/shop",
			files: []string{KeySSHPrivateKey, KeyKnownHosts}, sftp: &SFTPServer{"restic", "nas", "22"},
		},
		"SFTP on another port": {
			prefix: "sftp://restic@[2001:db8::1]:2222//srv/restic", extra: keys,
			url:   "sftp://restic@[2001:db8::1]:2222//srv/restic/shop",
			files: []string{KeySSHPrivateKey, KeyKnownHosts}, sftp: &SFTPServer{"restic", "2001:db8::1", "2222"},
		},
		"SFTP with a user that has an at sign": {
			prefix: "sftp:u@corp@nas:restic", extra: keys, url: "sftp:u@corp@nas:restic/shop",
			files: []string{KeySSHPrivateKey, KeyKnownHosts}, sftp: &SFTPServer{"u@corp", "nas", "22"},
		},
		"a path":                {prefix: "/mnt/nfs/restic/", url: "/mnt/nfs/restic/shop", folder: "/mnt/nfs/restic"},
		"a path with its name":  {prefix: "local:/mnt/a:b", url: "local:/mnt/a:b/shop", folder: "/mnt/a:b"},
		"a path with a colon":   {prefix: "/mnt/a:b", url: "/mnt/a:b/shop", folder: "/mnt/a:b"},
		"a bucket of its own":   {prefix: "s3:https://s3.example.com/other/", url: "s3:https://s3.example.com/other/shop"},
		"a bucket of Google's":  {prefix: "gs:other:/", url: "gs:other:/shop"},
		"a folder of one level": {prefix: "sftp:u@h:", extra: keys, url: "sftp:u@h:/shop", files: []string{KeySSHPrivateKey, KeyKnownHosts}, sftp: &SFTPServer{"u", "h", "22"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{
				Location:        location("example.com/any", "", prefixed(c.prefix)),
				VolumeNamespace: "shop", Extra: c.extra, Credential: []byte(c.credential),
			}
			if strings.HasPrefix(c.prefix, "s3:") {
				in.Credential = everyCredential
			}
			access, err := Resolve(in)
			if err != nil {
				t.Fatal(err)
			}
			if c.identifier == "" {
				c.identifier = c.url
			}
			if access.URL != c.url || Identifier(access.URL) != c.identifier || access.Folder != c.folder {
				t.Errorf("got %s, %s, folder %q", access.URL, Identifier(access.URL), access.Folder)
			}
			if diff := cmp.Diff(c.sftp, access.SFTP); diff != "" {
				t.Error(diff)
			}
			for name, want := range c.env {
				if access.Env[name] != want {
					t.Errorf("%s is %q, want %q", name, access.Env[name], want)
				}
			}
			for name, want := range c.envFiles {
				if access.EnvFiles[name] != want {
					t.Errorf("%s is the path of %q, want %q", name, access.EnvFiles[name], want)
				}
			}
			for _, name := range c.files {
				if !bytes.Equal(access.Files[name], c.extra[name]) {
					t.Errorf("file %s has %q", name, access.Files[name])
				}
				if _, both := access.Env[name]; both {
					t.Errorf("%s is a variable too", name)
				}
			}
		})
	}
}

func TestPrefixIsRefused(t *testing.T) {
	cases := map[string]struct {
		prefix string
		extra  extra
		says   string
	}{
		"a place of no backend":         {"nfs:server:/export", nil, "absolute path"},
		"a web address":                 {"https://u:hunter2@h/", nil, "rest:"},
		"a path from nowhere":           {"backup/restic", nil, "absolute path"},
		"another path from nowhere":     {"local:backup", nil, "absolute path"},
		"REST without http":             {"rest:backup.example.com/x", nil, "http:// or https://"},
		"a password that breaks a URL":  {"rest:https://u:hunter2/x@h:8000/r", nil, "%XX"},
		"SFTP without a user":           {"sftp:nas:/srv", nil, "sftp:USER@nas"},
		"SFTP without a folder":         {"sftp:u@nas", nil, "sftp:USER@HOST:/FOLDER"},
		"SFTP with a host that is none": {"sftp:u@n as:/srv", nil, "sftp:USER@HOST:/FOLDER"},
		"SFTP with an option as host":   {"sftp:u@-oProxyCommand=x:/srv", nil, "sftp:USER@HOST:/FOLDER"},
		"SFTP without a key":            {"sftp:u@nas:/srv", extra{KeyKnownHosts: []byte("k")}, "ssh-privatekey"},
		"SFTP without known hosts": {
			"sftp:u@nas:/srv", extra{KeySSHPrivateKey: []byte("k")}, "ssh-keyscan nas",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bsl := location("example.com/any", "", prefixed(c.prefix))
			_, err := Resolve(Input{Location: bsl, VolumeNamespace: "shop", Extra: c.extra})
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `"default"`) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has a secret: %v", err)
			}
		})
	}
}

// TestSettingsInAnnotations has what the provider's plugin would not take in spec.config.
func TestSettingsInAnnotations(t *testing.T) {
	bsl := location("aws", "", config{SettingPrefix: "/old", SettingEnvSecret: "old", "region": "eu-1"})
	bsl.Annotations = config{
		"restic.velero.io/resticRepoPrefix": " rest:https://h/ ", "restic.velero.io/resticEnvSecret": "mine",
		"restic.velero.io/region": "us-1",
	}
	access, err := Resolve(Input{Location: bsl, VolumeNamespace: "shop"})
	if err != nil || access.URL != "rest:https://h/shop" {
		t.Errorf("got %s, %v", access.URL, err)
	}
	if got := EnvSecret(bsl); got != "mine" {
		t.Errorf("the Secret is %q", got)
	}
	if got := setting(bsl, "region"); got != "eu-1" {
		t.Errorf("the region is %q, which the plugin does not see", got)
	}
	bsl.Annotations["restic.velero.io/resticRepoPrefix"] = "what"
	if _, err := Resolve(Input{Location: bsl, VolumeNamespace: "shop"}); err == nil ||
		!strings.Contains(err.Error(), "annotation restic.velero.io/resticRepoPrefix") {
		t.Errorf("got %v", err)
	}
	bsl.Annotations = nil
	if got := EnvSecret(bsl); got != "old" {
		t.Errorf("the Secret is %q", got)
	}
}
