package ghsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// authority is a private CA and the certificate of this server.
type authority struct {
	pem         []byte
	certificate tls.Certificate
}

// newAuthority makes both, valid for a day. The certificate is for github.com too, so that
// clients that can't be given another name may be sent here.
func newAuthority(addresses ...net.IP) (authority, error) {
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "stand-in GitHub, CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "stand-in GitHub"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		DNSNames: []string{"localhost", "github.com", "api.github.com"}, IPAddresses: append(addresses, net.IPv4(127, 0, 0, 1), net.IPv6loopback),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	sign := func(of, by *x509.Certificate, signer crypto.Signer) ([]byte, *ecdsa.PrivateKey, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		if signer == nil {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, of, by, key.Public(), signer)
		return der, key, err
	}
	rootDER, rootKey, err := sign(root, root, nil)
	if err != nil {
		return authority{}, fmt.Errorf("CA: %w", err)
	}
	leafDER, leafKey, err := sign(leaf, root, rootKey)
	if err != nil {
		return authority{}, fmt.Errorf("certificate: %w", err)
	}
	return authority{
		pem:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}),
		certificate: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
	}, nil
}

func (a authority) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.certificate}, MinVersion: tls.VersionTLS12}
}
