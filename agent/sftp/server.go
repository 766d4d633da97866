// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package sftp connects restic to an SFTP server. restic starts the ssh program for that, which the agent's image does
// not have: it starts the agent instead, which speaks SSH just as far as restic needs it. Neither is there a shell, nor
// a configuration file, nor a host key that is taken on trust.
package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// connectTimeout is the default of Server.Timeout. Who does not answer in that time will not carry a backup.
	connectTimeout = 20 * time.Second
	// keepAliveEvery is how often the server is asked for a sign of life, and keepAliveTimeout how long it may take
	// to give one. Without, a connection that a firewall has dropped would hold a backup until its own deadline.
	keepAliveEvery   = 15 * time.Second
	keepAliveTimeout = 45 * time.Second
	// closeTimeout is how long a server may take to end after its input has ended.
	closeTimeout = 5 * time.Second
)

// Server is where to connect, and as whom.
type Server struct {
	// User, Host and Port are those of the repository's URL.
	User, Host, Port string
	// IdentityFile is the path of the user's private key, without a passphrase.
	IdentityFile string
	// KnownHostsFile is the path of a file with the server's keys. No other key is accepted.
	KnownHostsFile string
	// Timeout bounds the connection, and then the exchange of keys; 0 means 20 seconds.
	Timeout time.Duration
}

// Pipe connects the streams with the server's subsystem sftp, until the input ends, the server does, or parent does.
// Once connected, it is no error that parent ends. Its errors say what is wrong and what to do, and hold no secret.
func (s Server) Pipe(parent context.Context, in io.Reader, out io.Writer) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	client, err := s.connect(parent, config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	// Closing the connection ends everything that waits for it.
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	go keepAlive(ctx, client, cancel)

	err = s.transfer(client, in, out)
	_ = client.Close() // whatever there was to say has been said
	if parent.Err() != nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// connect does everything up to the signing in.
func (s Server) connect(ctx context.Context, config *ssh.ClientConfig) (*ssh.Client, error) {
	address := s.address()
	timeout := cmp.Or(s.Timeout, connectTimeout)
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to the SFTP server: %w: is the server up, and may this node reach it?", err)
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the SFTP server: %w", err), conn.Close())
	}
	handshake, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		_ = conn.Close() // the error before says why
		return nil, s.explain(err, config)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the SFTP server: %w", err), handshake.Close())
	}
	return ssh.NewClient(handshake, channels, requests), nil
}

// transfer opens the subsystem and copies until one side ends.
func (s Server) transfer(client *ssh.Client, in io.Reader, out io.Writer) error {
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("opening a session on the SFTP server %s: %w", s.Host, err)
	}
	input, inErr := session.StdinPipe()
	output, outErr := session.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return fmt.Errorf("opening a session on the SFTP server %s: %w", s.Host, err)
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return fmt.Errorf("starting SFTP on %s: %w: the server has no subsystem sftp, or does not let user %s use it",
			s.address(), err, s.User)
	}
	go func() {
		_, _ = io.Copy(input, in) // when either side ends, all is over
		_ = input.Close()
		// A server that goes on all the same would keep this process, which nobody waits for any more.
		time.Sleep(closeTimeout)
		_ = client.Close()
	}()
	if _, err := io.Copy(out, output); err != nil {
		return fmt.Errorf("transferring with the SFTP server %s: %w", s.address(), err)
	}
	return nil
}

// keepAlive ends the connection when the server gives no sign of life. The name of the request is OpenSSH's; a server
// that does not know it says so, which is as good.
func keepAlive(ctx context.Context, client *ssh.Client, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepAliveEvery):
		}
		answered := make(chan error, 1)
		go func() {
			_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
			answered <- err
		}()
		select {
		case <-ctx.Done():
			return
		case err := <-answered:
			if err != nil {
				return // the connection is closed, which the transfer notices itself
			}
		case <-time.After(keepAliveTimeout):
			cancel(fmt.Errorf("the SFTP server has not answered for %s", keepAliveTimeout))
			return
		}
	}
}

func (s Server) address() string { return net.JoinHostPort(s.Host, s.Port) }
