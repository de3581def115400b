package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"
)

// operatorSocket is the name of the operator's socket in the folder of the entries, which no runner
// sees.
const operatorSocket = "operator.sock"

// Place is where a cache runs.
type Place struct {
	Folder   string // of the entries
	Archives string // folder of the archives of actions
	Socket   string // for jobs
}

// Run serves a configuration in JSON until ctx ends.
func (p Place) Run(ctx context.Context, config string, log io.Writer) error {
	server := &Server{Folder: p.Folder, Archives: p.Archives, Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now}
	if err := json.Unmarshal([]byte(config), &server.Config); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := server.Open(); err != nil {
		return err
	}
	var listeners []net.Listener
	for _, one := range []struct {
		path string
		mode uint32
	}{{p.Socket, 0o666}, {filepath.Join(p.Folder, operatorSocket), 0o600}} {
		listener, err := Listen(one.path, one.mode)
		if err != nil {
			for _, open := range listeners {
				err = errors.Join(err, open.Close())
			}
			return err
		}
		listeners = append(listeners, listener)
	}
	server.Log.Info("the cache serves", "size", server.Config.Size, "actions", server.Config.Actions, "registries", server.Config.Registries)
	return server.Serve(ctx, listeners[0], listeners[1])
}

// Ask makes a request to the operator's side of a cache that runs here, and writes its Answer in JSON.
func (p Place) Ask(ctx context.Context, of Request, out io.Writer) error {
	answer, err := Ask(ctx, filepath.Join(p.Folder, operatorSocket), of)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(answer)
}
