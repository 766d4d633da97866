// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package sftp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// config says who signs in and which keys of the server are good.
func (s Server) config() (*ssh.ClientConfig, error) {
	signer, err := s.signer()
	if err != nil {
		return nil, err
	}
	check, err := knownhosts.New(s.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("reading known_hosts: %w: write a line as ssh-keyscan prints it", err)
	}
	return &ssh.ClientConfig{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: check, HostKeyAlgorithms: s.algorithms(check),
	}, nil
}

func (s Server) signer() (ssh.Signer, error) {
	content, err := os.ReadFile(s.IdentityFile)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(content)
	var encrypted *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &encrypted):
		return nil, errors.New("ssh-privatekey is encrypted with a passphrase, and nobody is there to type it: make " +
			"a key without for this purpose (ssh-keygen -t ed25519 -N '')")
	case err != nil:
		return nil, fmt.Errorf("reading ssh-privatekey: %w: it must be a private key as ssh-keygen writes it", err)
	}
	return signer, nil
}

// algorithms returns the kinds of the server's known keys, so that the server shows one of those. Left to itself, it
// would show the kind that it likes best, and a good server would seem to be a false one. Nil leaves it to the server.
func (s Server) algorithms(check ssh.HostKeyCallback) []string {
	var unknown *knownhosts.KeyError
	if err := check(s.address(), &net.TCPAddr{IP: net.IPv4zero}, unknownKey{}); !errors.As(err, &unknown) {
		return nil
	}
	var kinds []string
	for _, known := range unknown.Want {
		found := []string{known.Key.Type()}
		if known.Key.Type() == ssh.KeyAlgoRSA {
			found = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, kind := range found {
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// unknownKey is a key that no server has. The check of it returns the keys that known_hosts lists for the server.
type unknownKey struct{}

func (unknownKey) Type() string    { return "unknown" }
func (unknownKey) Marshal() []byte { return []byte("unknown") }
func (unknownKey) Verify([]byte, *ssh.Signature) error {
	return errors.New("an unknown key signs nothing")
}

// explain says why the exchange of keys has failed, and what to do.
func (s Server) explain(err error, config *ssh.ClientConfig) error {
	var unknown *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		return fmt.Errorf("the key of SFTP server %s is revoked in known_hosts", s.Host)
	case errors.As(err, &unknown) && len(unknown.Want) == 0:
		return fmt.Errorf("known_hosts has no key for SFTP server %s: put the line of `ssh-keyscan -p %s %s` there, "+
			"after having checked it on a way that you trust", s.address(), s.Port, s.Host)
	case errors.As(err, &unknown), strings.Contains(err.Error(), "no common algorithm for host key"):
		return fmt.Errorf("the key of SFTP server %s is not the one in known_hosts: either the server was set up "+
			"anew, and then its new line from `ssh-keyscan -p %s %s` belongs there, or somebody else answers in its "+
			"place",
			s.address(), s.Port, s.Host)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("SFTP server %s does not let user %s in with the key in ssh-privatekey: its public half "+
			"must be in .ssh/authorized_keys of that user there", s.address(), config.User)
	}
	return fmt.Errorf("agreeing on keys with SFTP server %s: %w: is that an SSH server?", s.address(), err)
}
