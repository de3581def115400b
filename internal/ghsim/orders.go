package ghsim

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// GitHub's orders to a runner between jobs. They arrive with the next poll.

// RefreshToken makes a runner request another token (Runner.Listener/Runner.cs:778-782).
func (s *Server) RefreshToken(name string) error {
	return s.order(name, func(*runner) any {
		return map[string]any{"messageId": s.id(), "messageType": "ForceTokenRefresh", "body": "{}"}
	})
}

// RefreshConfig makes a runner request its settings ("runner") or credentials ("credentials").
// The runner keeps the answer along with the old ones and prefers it
// (Sdk/DTWebApi/WebApi/RunnerRefreshConfigMessage.cs, Runner.Listener/RunnerConfigUpdater.cs).
func (s *Server) RefreshConfig(name, kind string) error {
	return s.order(name, func(of *runner) any {
		return map[string]any{"messageId": s.id(), "messageType": "RunnerRefreshConfig", "body": jsonText(map[string]any{
			"runnerQualifiedId": "valid/runner/qualifiedid/" + strconv.FormatInt(of.id, 10), "configType": kind, "serviceType": "pipelines",
			"configRefreshURL": fmt.Sprintf("%s/config/%s", s.RunnerURL, kind),
		})}
	})
}

func (s *Server) order(name string, message func(*runner) any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runners {
		if r.name == name {
			r.messages = append(r.messages, message(r))
			s.announce()
			return nil
		}
	}
	return fmt.Errorf("no runner %s", name)
}

// refreshConfig returns the settings or credentials that a runner has sent, in base64 and
// unchanged. For GitHub's runner, GitHub's older service does this, which is not imitated.
func (s *Server) refreshConfig(w http.ResponseWriter, r *http.Request, _ *runner) {
	sent, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	text := strings.Trim(string(sent), "\"\n")
	if decoded, wrong := base64.StdEncoding.DecodeString(text); err != nil || wrong != nil || len(decoded) == 0 {
		refuse(w, r, http.StatusBadRequest, "the body: no settings in base64")
		return
	}
	writeJSON(w, http.StatusOK, text)
}
