// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const someID = "3598b977e3760287569f1739732bd1865b38633d0aafdbfa9690cc2507890420"

func TestBackupArguments(t *testing.T) {
	cases := map[string]struct {
		repository Repository
		options    BackupOptions
		want       string
		wantErr    error
	}{
		"all of a directory, without a cache": {
			options: BackupOptions{Host: "velero"},
			want:    "backup --json --no-cache --retry-lock=0s --host=velero -- .",
		},
		"every option": {
			repository: Repository{
				CacheDir: "/cache", InsecureTLS: true, RetryLock: 90 * time.Second,
				Options: []string{"s3.region=eu", `sftp.args=-o "A=b",c`},
			},
			options: BackupOptions{
				Host: "h", Parent: someID, ReadConcurrency: 4, Paths: []string{"-a", "b"},
				Tags: map[string]string{"ns": "n", "backup": "b=c"}, Exclude: []string{"/v/.velero", "/v/a,b"},
			},
			want: "backup --json --insecure-tls --option=s3.region=eu " +
				`--option="sftp.args=-o ""A=b"",c" --retry-lock=1m30s --host=h --tag=backup=b=c --tag=ns=n --parent=` +
				someID + " --exclude=/v/.velero --exclude=/v/a,b --read-concurrency=4 -- -a b",
		},
		"a tag with a comma would become two":      {options: tagged("a,b"), wantErr: ErrBadTag},
		"a tag with a line break":                  {options: tagged("a\nb"), wantErr: ErrBadTag},
		"a tag that restic would trim":             {options: tagged("a "), wantErr: ErrBadTag},
		"a parent that means something else later": {options: BackupOptions{Parent: "latest"}, wantErr: ErrParentNotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			args, err := backupArguments(c.repository, c.options)
			if !errors.Is(err, c.wantErr) {
				t.Fatalf("got error %v, want %v", err, c.wantErr)
			}
			if diff := cmp.Diff(c.want, strings.Join(args, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func tagged(value string) BackupOptions { return BackupOptions{Tags: map[string]string{"pod": value}} }

func TestOtherArguments(t *testing.T) {
	repository := Repository{CacheDir: "/cache", RetryLock: time.Minute}
	readOnly := Repository{CacheDir: "/cache", RetryLock: time.Minute, ReadOnly: true}
	restore := RestoreOptions{SnapshotID: someID, Target: "/t", Sparse: true, Exclude: []string{"/.velero"}}
	tags := map[string]string{"volume": "data", "backup-uid": "u"}
	cases := map[string]struct {
		args func() ([]string, error)
		want string
	}{
		"restore": {
			func() ([]string, error) { return restoreArguments(repository, restore) },
			"restore --json --retry-lock=1m0s --target=/t --sparse --exclude=/.velero -- " + someID,
		},
		"restore of a folder in a snapshot": {
			func() ([]string, error) {
				return restoreArguments(repository, RestoreOptions{SnapshotID: "3598b977:/a b", Target: "/t"})
			},
			"restore --json --retry-lock=1m0s --target=/t -- 3598b977:/a b",
		},
		"restore from a place that cannot be written": {
			func() ([]string, error) { return restoreArguments(readOnly, restore) },
			"restore --json --no-lock --target=/t --sparse --exclude=/.velero -- " + someID,
		},
		"snapshots that have all tags": {
			func() ([]string, error) { return snapshotsArguments(repository, tags) },
			"snapshots --json --retry-lock=1m0s --tag=backup-uid=u,volume=data",
		},
		"all snapshots of a place that cannot be written": {
			func() ([]string, error) { return snapshotsArguments(readOnly, nil) },
			"snapshots --json --no-lock",
		},
		"forget": {
			func() ([]string, error) { return forgetArguments(repository, []string{someID}), nil },
			"forget --json --retry-lock=1m0s -- " + someID,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			args, err := c.args()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.Join(args, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRestoreArgumentsRefuse(t *testing.T) {
	for name, o := range map[string]RestoreOptions{
		"a snapshot that is another one tomorrow": {SnapshotID: "latest", Target: "/t"},
		"no snapshot": {Target: "/t"},
		"a flag":      {SnapshotID: "--delete", Target: "/t"},
		"no target":   {SnapshotID: someID},
	} {
		t.Run(name, func(t *testing.T) {
			if args, err := restoreArguments(Repository{}, o); err == nil {
				t.Errorf("got %q", args)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	got := Repository{
		URL: "rest:https://u:p@h/", PasswordFile: "/p", CACertFile: "/ca", CacheDir: "/c",
		Env: []string{
			"Z=1", "RESTIC_PASSWORD=x", "RESTIC_PASSWORD_COMMAND=x", "RESTIC_REPOSITORY_FILE=x",
			"RESTIC_REPOSITORY=other", "RESTIC_HOST=laptop", "A=b=c",
		},
	}.environment()
	want := []string{
		"A=b=c", "RESTIC_CACERT=/ca", "RESTIC_CACHE_DIR=/c", "RESTIC_PASSWORD_FILE=/p",
		"RESTIC_PROGRESS_FPS=1", "RESTIC_REPOSITORY=rest:https://u:p@h/", "Z=1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatchIDs(t *testing.T) {
	snapshots := []Snapshot{{ID: "aaaaaaaa11"}, {ID: "aaaaaaaa22"}, {ID: "bbbbbbbb33"}}
	got, err := matchIDs(snapshots, []string{"bbbbbbbb", "bbbbbbbb33", "cccccccc", "aaaaaaaa22"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"aaaaaaaa22", "bbbbbbbb33"}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := matchIDs(snapshots, []string{"aaaaaaaa"}); err == nil {
		t.Errorf("an ID of two snapshots gave %q", got)
	}
}
