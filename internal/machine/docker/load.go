//go:build linux

package docker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// loadLimit is the time that dockerd may take to answer before images are loaded.
const loadLimit = time.Minute

// Load loads images from an archive of docker save, once dockerd answers.
func Load(archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	for end := time.Now().Add(loadLimit); ; time.Sleep(200 * time.Millisecond) {
		if _, ok := Ping(Socket); ok {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("dockerd does not answer within %s", loadLimit)
		}
	}
	return load(Socket, file)
}

func load(socket string, archive io.Reader) error {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer connection.Close()
	request, err := http.NewRequest(http.MethodPost, "http://docker/images/load?quiet=1", archive)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-tar")
	response, err := send(connection, request, maxAnswer)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	// dockerd reports a failure inside the answer once it has begun.
	if err != nil || response.StatusCode != http.StatusOK || strings.Contains(string(text), `"errorDetail"`) {
		return errors.Join(fmt.Errorf("dockerd: %s: %s", response.Status, strings.TrimSpace(string(text))), err)
	}
	return nil
}
