// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package pki

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"testing"
)

func TestCertificatesAreAcceptedForTheirUse(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.Server("kube-apiserver", []string{"localhost"}, []net.IP{net.ParseIP("10.197.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Client("system:node:a", "system:nodes")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		authority *Authority
		pair      Pair
		name      string
		usage     x509.ExtKeyUsage
		good      bool
	}{
		"the server by its address":      {authority, server, "10.197.0.2", x509.ExtKeyUsageServerAuth, true},
		"the server by its name":         {authority, server, "localhost", x509.ExtKeyUsageServerAuth, true},
		"the server by another address":  {authority, server, "10.197.1.2", x509.ExtKeyUsageServerAuth, false},
		"the server as a client":         {authority, server, "", x509.ExtKeyUsageClientAuth, false},
		"a client":                       {authority, client, "", x509.ExtKeyUsageClientAuth, true},
		"a client for another authority": {stranger, client, "", x509.ExtKeyUsageClientAuth, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(test.authority.PEM)
			_, err := parse(t, test.pair).Verify(x509.VerifyOptions{
				Roots: roots, DNSName: test.name, KeyUsages: []x509.ExtKeyUsage{test.usage},
			})
			if (err == nil) != test.good {
				t.Errorf("got error %v, want it accepted: %t", err, test.good)
			}
		})
	}
	subject := parse(t, client).Subject
	if subject.CommonName != "system:node:a" || !slices.Equal(subject.Organization, []string{"system:nodes"}) {
		t.Errorf("the client is %s, want user system:node:a of group system:nodes", subject)
	}
}

func parse(t *testing.T, pair Pair) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pair.Certificate)
	if block == nil {
		t.Fatal("the certificate is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
