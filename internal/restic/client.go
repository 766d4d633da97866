// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/sandbox"
)

// Repository is a restic repository and how to reach it.
type Repository struct {
	// URL is the repository as restic names it. It may hold a password and so goes through the environment.
	URL string
	// PasswordFile is the path of the file with the repository's password.
	PasswordFile string
	// CACertFile is the path of a file with the certificates of authorities to trust beside the system's; optional.
	CACertFile string
	// InsecureTLS leaves the server's certificate unchecked.
	InsecureTLS bool
	// CacheDir is where restic keeps its cache of metadata; empty for no cache at all.
	CacheDir string
	// Options are extended options, each as key=value (restic's -o). They are visible to everybody on the node.
	Options []string
	// Env is the environment, as KEY=value, with credentials. Variables that this package sets itself win, and those
	// that contradict them are left out: RESTIC_REPOSITORY_FILE, RESTIC_PASSWORD, RESTIC_PASSWORD_COMMAND, RESTIC_HOST.
	Env []string
	// TransportErrors is the path of a file in which the program that Options have restic start to reach the storage
	// says why it failed, a line for each failure; optional. What such a program writes to its standard error gets
	// lost when restic ends sooner than it has read it (restic v0.19.1, internal/backend/sftp/sftp.go, startClient).
	TransportErrors string
	// Paths are the files and directories that every command for this repository needs, such as PasswordFile and
	// CacheDir; see Process.Sandbox.
	Paths []sandbox.Path
	// RetryLock is how long to wait for a lock that another process holds.
	RetryLock time.Duration
	// ReadOnly refuses every command that writes, and reads without a lock.
	ReadOnly bool
}

// Client calls restic for one repository. Its methods may be called at the same time. They fail as Runner does, with
// an error whose meaning errors.Is tells; none waits longer than its context. Against a storage that does not answer
// restic itself tries for 15 minutes: give the context a deadline.
type Client struct {
	runner     Runner
	repository Repository
}

// NewClient returns a Client that calls restic through the runner.
func NewClient(runner Runner, repository Repository) *Client {
	return &Client{runner: runner, repository: repository}
}

// Config is the configuration of a repository.
type Config struct {
	// ID is chosen by restic when the repository is made.
	ID string `json:"id"`
	// Version is the version of the repository's format.
	Version int `json:"version"`
}

// Version returns restic's version, such as 0.19.1. It needs no repository.
func (c *Client) Version(ctx context.Context) (string, error) {
	version := ""
	err := c.run(ctx, Command{Args: []string{argVersion, flagJSON}}, func(line []byte) {
		if m, ok := decodeMessage(line); ok && m.MessageType == messageVersion {
			version = m.Version
		}
	})
	if err != nil {
		return "", fmt.Errorf("asking for restic's version: %w", err)
	}
	if version == "" {
		return "", fmt.Errorf("asking for restic's version: %w", ErrBadAnswer)
	}
	return version, nil
}

// CatConfig opens the repository, which proves that it exists and that the password fits, and returns its
// configuration. It takes no lock: the configuration never changes.
func (c *Client) CatConfig(ctx context.Context) (Config, error) {
	var config Config
	args := append(c.repository.arguments(argCat, "config"), flagNoLock)
	if err := c.runJSON(ctx, Command{Args: args}, &config); err != nil {
		return Config{}, fmt.Errorf("opening the repository: %w", err)
	}
	if config.ID == "" {
		return Config{}, fmt.Errorf("opening the repository: no ID in its configuration: %w", ErrBadAnswer)
	}
	return config, nil
}

// Init makes the repository. It fails with ErrAlreadyInitialized if there is one.
func (c *Client) Init(ctx context.Context) error {
	if err := c.write(ctx, c.repository.arguments(argInit)); err != nil {
		return fmt.Errorf("making the repository: %w", err)
	}
	return nil
}

// write runs a command that changes the repository and says nothing of use.
func (c *Client) write(ctx context.Context, args []string) error {
	if c.repository.ReadOnly {
		return ErrReadOnly
	}
	return c.run(ctx, Command{Args: args}, nil)
}

func (c *Client) run(ctx context.Context, cmd Command, onLine func(line []byte)) error {
	cmd.Env, cmd.TransportErrors = c.repository.environment(), c.repository.TransportErrors
	cmd.Paths = append(slices.Clone(c.repository.Paths), cmd.Paths...)
	return c.runner.Run(ctx, cmd, onLine)
}

// maxDocument bounds an answer that is one JSON document, in bytes. A snapshot takes about 1 KiB in the list of them,
// all in one line.
const maxDocument = 256 << 20

// runJSON runs a command whose whole output is one JSON document. Of the command it sets MaxLine.
func (c *Client) runJSON(ctx context.Context, cmd Command, into any) error {
	var document []byte
	cmd.MaxLine = maxDocument
	err := c.run(ctx, cmd, func(line []byte) {
		if len(document)+len(line) <= maxDocument {
			document = append(append(document, line...), '\n')
		}
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(document, into); err != nil {
		return fmt.Errorf("decoding the output of restic %s: %w: %w", cmd.Args[0], ErrBadAnswer, err)
	}
	return nil
}
