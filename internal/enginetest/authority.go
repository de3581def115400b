//go:build linux

package enginetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs the certificates of private engines and of their clients.
type Authority struct {
	Dir string // with ca.pem, cert.pem and key.pem, for DOCKER_CERT_PATH

	certificate *x509.Certificate
	signed      []byte // the certificate, signed by itself
	key         *ecdsa.PrivateKey
}

// NewAuthority creates an authority, and a certificate that it signed for a client.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	key := newKey(t)
	a := &Authority{Dir: t.TempDir(), key: key, certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "enginetest"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.signed = a.sign(t, a.certificate, &key.PublicKey)
	writePEM(t, filepath.Join(a.Dir, "ca.pem"), "CERTIFICATE", a.signed)
	a.issue(t, a.Dir, &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *Authority) sign(t *testing.T, certificate *x509.Certificate, key *ecdsa.PublicKey) []byte {
	t.Helper()
	signed, err := x509.CreateCertificate(rand.Reader, certificate, a.certificate, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (a *Authority) issue(t *testing.T, dir string, certificate *x509.Certificate) {
	t.Helper()
	certificate.SerialNumber, certificate.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(time.Hour)
	key := newKey(t)
	writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", a.sign(t, certificate, &key.PublicKey))
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "key.pem"), "EC PRIVATE KEY", raw)
}

func writePEM(t *testing.T, path, kind string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve writes the certificates of an engine at an address into its folder, and returns the
// arguments for its command line.
func (a *Authority) serve(t *testing.T, dir, address string) []string {
	t.Helper()
	a.issue(t, dir, &x509.Certificate{
		Subject: pkix.Name{CommonName: "engine"}, IPAddresses: []net.IP{net.ParseIP(address)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", a.signed)
	return []string{
		"--host", "tcp://0.0.0.0:2376", "--tlsverify", "--tlscacert", filepath.Join(dir, "ca.pem"),
		"--tlscert", filepath.Join(dir, "cert.pem"), "--tlskey", filepath.Join(dir, "key.pem"),
	}
}
