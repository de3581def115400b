//go:build !linux

package commands

import "errors"

func placeKey(string) (serial string, remove func(), err error) {
	return "", nil, errors.ErrUnsupported
}
