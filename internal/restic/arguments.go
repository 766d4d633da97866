// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The subcommands.
const (
	argVersion   = "version"
	argCat       = "cat"
	argInit      = "init"
	argBackup    = "backup"
	argRestore   = "restore"
	argSnapshots = "snapshots"
	argForget    = "forget"
	argUnlock    = "unlock"
	argList      = "list"
	argCheck     = "check"
	argPrune     = "prune"
)

// Flags that several commands take.
const (
	flagJSON   = "--json"
	flagNoLock = "--no-lock"
)

// Variables by which restic is told what other people on the node must not read in the list of processes, or that
// would be in the way on the command line (restic v0.19.1, doc/040_backup.rst, "Environment Variables").
const (
	envRepository   = "RESTIC_REPOSITORY"
	envPasswordFile = "RESTIC_PASSWORD_FILE"
	envCACert       = "RESTIC_CACERT"
	envCacheDir     = "RESTIC_CACHE_DIR"
	envProgress     = "RESTIC_PROGRESS_FPS"
)

// contradictingVariables are other ways to tell restic what Repository tells it, of which it refuses some together, and
// one that would keep snapshots of other hosts out of every list (restic v0.19.1, cmd/restic/find.go).
func contradictingVariables() []string {
	return []string{"RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD", "RESTIC_PASSWORD_COMMAND", "RESTIC_HOST"}
}

// progressPerSecond is how many status lines restic writes. One is as fast as a person can read; its own default of
// ten costs the agent a JSON object each.
const progressPerSecond = "1"

// snapshotID matches the ID of a snapshot, whole or as short as restic prints it, which is what Velero <= 1.16 kept.
// restic's other names, such as "latest", mean another snapshot tomorrow.
var snapshotID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// environment returns the whole environment of a command, sorted by name.
func (r Repository) environment() []string {
	env := map[string]string{}
	for _, entry := range r.Env {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	for _, name := range contradictingVariables() {
		delete(env, name)
	}
	env[envRepository] = r.URL
	env[envPasswordFile] = r.PasswordFile
	env[envProgress] = progressPerSecond
	if r.CACertFile != "" {
		env[envCACert] = r.CACertFile
	}
	if r.CacheDir != "" {
		env[envCacheDir] = r.CacheDir
	}
	entries := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		entries = append(entries, name+"="+env[name])
	}
	return entries
}

// arguments returns the arguments that a subcommand is called with for this repository, before its own.
func (r Repository) arguments(subcommand ...string) []string {
	args := append(slices.Clone(subcommand), flagJSON)
	if r.CacheDir == "" {
		args = append(args, "--no-cache")
	}
	if r.InsecureTLS {
		args = append(args, "--insecure-tls")
	}
	for _, option := range r.Options {
		args = append(args, "--option="+csvField(option))
	}
	return args
}

// lockArgument returns how a command that writes waits for its lock.
func (r Repository) lockArgument() string { return "--retry-lock=" + max(r.RetryLock, 0).String() }

// readLockArgument returns how a command that only reads does: a lock is a file that a read-only repository cannot
// take.
func (r Repository) readLockArgument() string {
	if r.ReadOnly {
		return flagNoLock
	}
	return r.lockArgument()
}

// csvField quotes a value of a flag that restic splits at commas, as encoding/csv does.
func csvField(value string) string {
	if !strings.ContainsAny(value, "\",\r\n") {
		return value
	}
	return `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
}

func backupArguments(r Repository, o BackupOptions) ([]string, error) {
	tags, err := tagList(o.Tags)
	if err != nil {
		return nil, err
	}
	args := append(r.arguments(argBackup), r.lockArgument())
	if o.Host != "" {
		args = append(args, "--host="+o.Host)
	}
	for _, tag := range tags {
		args = append(args, "--tag="+tag)
	}
	if o.Parent != "" {
		if !snapshotID.MatchString(o.Parent) {
			return nil, fmt.Errorf("parent %q is not the ID of a snapshot: %w", o.Parent, ErrParentNotFound)
		}
		args = append(args, "--parent="+o.Parent)
	}
	for _, pattern := range o.Exclude {
		args = append(args, "--exclude="+pattern)
	}
	if o.ReadConcurrency > 0 {
		args = append(args, "--read-concurrency="+strconv.Itoa(o.ReadConcurrency))
	}
	paths := o.Paths
	if len(paths) == 0 {
		paths = []string{"."}
	}
	return append(append(args, "--"), paths...), nil
}

func restoreArguments(r Repository, o RestoreOptions) ([]string, error) {
	id, _, _ := strings.Cut(o.SnapshotID, ":")
	if !snapshotID.MatchString(id) {
		return nil, fmt.Errorf("%q is not the ID of a snapshot: %w", o.SnapshotID, ErrSnapshotNotFound)
	}
	if o.Target == "" {
		return nil, fmt.Errorf("restoring snapshot %s: no target directory", o.SnapshotID)
	}
	args := append(r.arguments(argRestore), r.readLockArgument(), "--target="+o.Target)
	if o.Sparse {
		args = append(args, "--sparse")
	}
	for _, pattern := range o.Exclude {
		args = append(args, "--exclude="+pattern)
	}
	return append(args, "--", o.SnapshotID), nil
}

func snapshotsArguments(r Repository, tags map[string]string) ([]string, error) {
	list, err := tagList(tags)
	if err != nil {
		return nil, err
	}
	args := append(r.arguments(argSnapshots), r.readLockArgument())
	if len(list) > 0 {
		// One flag with commas asks for all of the tags, several flags for any of them.
		args = append(args, "--tag="+strings.Join(list, ","))
	}
	return args, nil
}

func forgetArguments(r Repository, ids []string) []string {
	return append(append(r.arguments(argForget), r.lockArgument(), "--"), ids...)
}

// tagList returns the tags as restic writes them, sorted. restic splits a tag at each comma and trims it
// (internal/data/tag_list.go), so that some values would come back as something else.
func tagList(tags map[string]string) ([]string, error) {
	list := make([]string, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		tag := key + "=" + tags[key]
		switch {
		case key == "" || strings.ContainsAny(key, "=,"):
			return nil, fmt.Errorf("%w: key %q is empty or has a comma or an equals sign", ErrBadTag, key)
		case strings.ContainsAny(tag, ",\x00\n"):
			return nil, fmt.Errorf("%w: the value of %s has a comma, a line break or a zero byte: %q",
				ErrBadTag, key, tags[key])
		case tag != strings.TrimSpace(tag):
			return nil, fmt.Errorf("%w: the value of %s has a space at its begin or end: %q", ErrBadTag, key, tags[key])
		}
		list = append(list, tag)
	}
	return list, nil
}

// tagMap is the reverse of tagList; tags of another form are left out.
func tagMap(list []string) map[string]string {
	tags := make(map[string]string, len(list))
	for _, tag := range list {
		if key, value, ok := strings.Cut(tag, "="); ok {
			tags[key] = value
		}
	}
	return tags
}
