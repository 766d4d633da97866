// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httputil"
	neturl "net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// front is a proxy as companies have it: it answers for the addresses of a cloud with certificates of the private
// authority, and hands each request to a server of the test. So restic, and what it makes of a storage location, use
// the addresses that they use in the cloud.
type front struct {
	t       *testing.T
	address string
	routes  map[string]http.Handler

	mu    sync.Mutex
	hosts []string
}

// newFront routes by the end of a host's name; the longest that fits counts.
func newFront(t *testing.T, routes map[string]http.Handler) *front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, address: listener.Addr().String(), routes: routes}
	server := &http.Server{Handler: http.HandlerFunc(f.connect)} //nolint:gosec // of one test, on the loopback device
	go func() { _ = server.Serve(listener) }()                   // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return f
}

// toServer hands requests on as they are, the name of the host among them, which signatures are made over.
func toServer(address string) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&neturl.URL{Scheme: "http", Host: address})
		r.Out.Host = r.In.Host
	}}
}

func (f *front) route(host string) http.Handler {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts = append(f.hosts, host)
	best := ""
	for end := range f.routes {
		if strings.HasSuffix(host, end) && len(end) > len(best) {
			best = end
		}
	}
	return f.routes[best]
}

// asked says whether somebody wanted to reach the host.
func (f *front) asked(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.hosts, host)
}

// connect answers CONNECT, and then in the place of the host.
func (f *front) connect(w http.ResponseWriter, r *http.Request) {
	host := r.URL.Hostname()
	handler := f.route(host)
	if r.Method != http.MethodConnect || handler == nil {
		http.Error(w, "the test has no "+host, http.StatusBadGateway)
		return
	}
	pair, err := suite.authority.Server("front", []string{host}, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return // the client is gone
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	one := &oneConn{conn: tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})} //nolint:gosec // default versions
	_ = http.Serve(one, handler)                                                                       //nolint:gosec // ends with its only connection
}

// oneConn is a listener of one connection.
type oneConn struct {
	once sync.Once
	conn net.Conn
}

func (o *oneConn) Accept() (net.Conn, error) {
	var conn net.Conn
	o.once.Do(func() { conn = o.conn })
	if conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (o *oneConn) Close() error   { return nil }
func (o *oneConn) Addr() net.Addr { return o.conn.LocalAddr() }

// behind has the agent of a world reach everything through the front, and trust its certificates.
func (w *world) behind(f *front) {
	w.env["HTTPS_PROXY"] = url("http", f.address)
	w.location.Spec.ObjectStorage.CACert = suite.authority.PEM
}
