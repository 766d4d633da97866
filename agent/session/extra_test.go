// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
)

// TestSecretOfALocation has variables and files come from the Secret of all locations and, over it, from the one that
// the location names.
func TestSecretOfALocation(t *testing.T) {
	c := newCluster(t)
	c.extra.Data["RCLONE_VERBOSE"], c.extra.Data["shared.pem"] = []byte("1"), []byte("shared")
	c.credentials = secret("mine", map[string]string{
		"RCLONE_BWLIMIT": "another-limit", "own.pem": "own-content", "RESTIC_TLS_CLIENT_CERT": "$(FILES)/own.pem",
	})
	c.location.Spec.ObjectStorage.CACertRef, c.location.Spec.Credential = nil, nil
	c.location.Annotations = map[string]string{"restic.velero.io/resticEnvSecret": "mine"}
	opened, err := c.open(t)
	if err != nil {
		t.Fatal(err)
	}
	arguments, environment := c.command(t, opened)
	if environment["RCLONE_BWLIMIT"] != "another-limit" || environment["RCLONE_VERBOSE"] != "1" {
		t.Errorf("the environment is %v", environment)
	}
	files := c.files(t)
	if files["own.pem"] != "own-content" || files["shared.pem"] != "shared" {
		t.Errorf("the files are %v", files)
	}
	certificate := environment["RESTIC_TLS_CLIENT_CERT"]
	if filepath.Base(certificate) != "own.pem" || !strings.HasPrefix(certificate, c.opener.ScratchDir) {
		t.Errorf("the variable is %q, which is not where the file is", certificate)
	}
	for _, name := range []string{"own.pem", "own-content", "another-limit"} {
		if strings.Contains(arguments, name) {
			t.Errorf("everybody on the node can see %q in %s", name, arguments)
		}
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}

	c.credentials = nil
	_, err = c.open(t)
	wantRefusal(t, err, "resticEnvSecret: there is no Secret mine in namespace velero")
}

func TestSFTPCommand(t *testing.T) {
	c := newCluster(t)
	c.opener.Program = "/program files/agent"
	c.location.Spec.Config["resticRepoPrefix"] = "sftp://restic@nas:2222//srv/restic"
	_, err := c.open(t)
	wantRefusal(t, err, `"ssh-privatekey"`)

	c.extra.Data["ssh-privatekey"], c.extra.Data["known_hosts"] = []byte("private"), []byte("known")
	opened, err := c.open(t)
	if err != nil {
		t.Fatal(err)
	}
	arguments, environment := c.command(t, opened)
	home := environment["HOME"]
	dir := filepath.Join(home, "files")
	// The whole option is one field of a list with commas, which doubles its quotes.
	want := `--option="sftp.command=""/program files/agent"" ""` + session.SFTPSubcommand + `"" ""--host=nas"" ` +
		`""--port=2222"" ""--user=restic"" ""--identity=` + dir + `/ssh-privatekey"" ` +
		`""--known-hosts=` + dir + `/known_hosts"" ""--errors-to=` + home + `/transport-errors"""`
	if !strings.Contains(arguments, want) {
		t.Errorf("got  %s\nwant %s", arguments, want)
	}
	if files := c.files(t); files["ssh-privatekey"] != "private" || files["known_hosts"] != "known" {
		t.Errorf("the files are %v", files)
	}
	if environment["known_hosts"] != "" {
		t.Error("a file is a variable too")
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}
