package ghsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// artifact is an artifact of actions/upload-artifact@v4. Its requests are those of
// actions/toolkit, packages/artifact/src/generated/results/api/v1/artifact.ts.
type artifact struct {
	id      int64
	name    string
	blob    *blob
	size    int64
	digest  string
	created time.Time
	final   bool
}

type artifactName struct {
	jobRef
	Name string `json:"name"`
}

type artifactCreation struct {
	artifactName
	ExpiresAt string `json:"expires_at,omitempty"`
	Version   int    `json:"version"`
	MimeType  string `json:"mime_type,omitempty"`
}

type artifactEnd struct {
	artifactName
	Size string `json:"size"` // Protobuf writes 64-bit numbers as strings
	Hash string `json:"hash,omitempty"`
}

type artifactFilter struct {
	jobRef
	Name string `json:"name_filter,omitempty"`
	ID   string `json:"id_filter,omitempty"`
}

func (j *job) artifact(name string) *artifact {
	for _, each := range j.artifacts {
		if each.name == name {
			return each
		}
	}
	return nil
}

// found returns the finished artifact of a name, or answers that it does not exist.
func (c *twirpCall) found(name string) *artifact {
	found := c.job.artifact(name)
	if found == nil || !found.final {
		twirpError(c.w, http.StatusNotFound, "not_found", "artifact "+name+" not found")
		return nil
	}
	return found
}

// createArtifact refuses a name that is in use, because artifacts do not change.
func (c *twirpCall) createArtifact() {
	var asked artifactCreation
	switch {
	case !c.read(&asked):
		return
	case asked.Version != 4 && asked.Version != 7: // version 7 has a MIME type
		refuse(c.w, c.r, http.StatusBadRequest, "artifacts of version "+strconv.Itoa(asked.Version))
		return
	case asked.Name == "" || strings.ContainsAny(asked.Name, "\":<>|*?\r\n\\/"):
		twirpError(c.w, http.StatusBadRequest, "invalid_argument", "the artifact name is not valid")
		return
	case c.job.artifact(asked.Name) != nil:
		twirpError(c.w, http.StatusConflict, "already_exists", "an artifact with this name already exists on the workflow run")
		return
	}
	made := &artifact{id: c.server.id(), name: asked.Name, blob: c.server.newBlob(), created: c.server.now()}
	c.job.artifacts = append(c.job.artifacts, made)
	c.answer(map[string]any{"ok": true, "signed_upload_url": c.server.signedURL(made.blob)})
}

func (c *twirpCall) finalizeArtifact() {
	var asked artifactEnd
	if !c.read(&asked) {
		return
	}
	made := c.job.artifact(asked.Name)
	switch size, err := strconv.ParseInt(asked.Size, 10, 64); {
	case made == nil:
		twirpError(c.w, http.StatusNotFound, "not_found", "artifact "+asked.Name+" not found")
	case err != nil || size != int64(made.blob.content.Len()):
		twirpError(c.w, http.StatusBadRequest, "invalid_argument", "the size does not match the upload")
	default:
		made.size, made.digest, made.final = size, asked.Hash, true
		c.answer(map[string]any{"ok": true, "artifact_id": strconv.FormatInt(made.id, 10)})
	}
}

func (c *twirpCall) listArtifacts() {
	var asked artifactFilter
	if !c.read(&asked) {
		return
	}
	all := []any{}
	for _, each := range c.job.artifacts {
		id := strconv.FormatInt(each.id, 10)
		if !each.final || asked.Name != "" && asked.Name != each.name || asked.ID != "" && asked.ID != id {
			continue
		}
		all = append(all, map[string]any{
			"workflow_run_backend_id": c.job.planID, "workflow_job_run_backend_id": c.job.uuid, "database_id": id, "name": each.name,
			"size": strconv.FormatInt(each.size, 10), "created_at": each.created.UTC().Format(time.RFC3339), "digest": each.digest,
		})
	}
	c.answer(map[string]any{"artifacts": all})
}

func (c *twirpCall) signArtifact() {
	var asked artifactName
	if !c.read(&asked) {
		return
	}
	if found := c.found(asked.Name); found != nil {
		c.answer(map[string]string{"signed_url": c.server.signedURL(found.blob)})
	}
}

func (c *twirpCall) deleteArtifact() {
	var asked artifactName
	if !c.read(&asked) {
		return
	}
	if found := c.found(asked.Name); found != nil {
		c.job.artifacts = slices.DeleteFunc(c.job.artifacts, func(each *artifact) bool { return each == found })
		c.answer(map[string]any{"ok": true, "artifact_id": strconv.FormatInt(found.id, 10)})
	}
}
