//go:build !linux

package selftest

import "errors"

func PlaceKey(string) (serial string, remove func(), err error) {
	return "", nil, errors.ErrUnsupported
}
