package ghsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// The requests of GitHub's runner, by the contracts of actions/runner at 258d6c8 (the paths
// below are relative to its src/). A request is refused if it has a field that the runner does
// not send, or lacks a field that the runner always sends; the refusal names the field. Fields
// with omitempty may be missing.

// sessionRequest is TaskAgentSession (Sdk/DTWebApi/WebApi/TaskAgentSession.cs:40-110) as
// BrokerMessageListener.cs:98-107 fills it.
type sessionRequest struct {
	SessionID     string         `json:"sessionId"`
	OwnerName     string         `json:"ownerName"`
	Agent         agentReference `json:"agent"`
	Fips          bool           `json:"useFipsEncryption"`
	EncryptionKey any            `json:"encryptionKey,omitempty"`
	Migration     any            `json:"brokerMigrationMessage,omitempty"`
}

// agentReference is TaskAgentReference (Sdk/DTWebApi/WebApi/TaskAgentReference.cs).
type agentReference struct {
	ID                json.Number `json:"id"`
	Name              string      `json:"name"`
	Version           string      `json:"version"`
	OSDescription     string      `json:"osDescription"`
	Enabled           *bool       `json:"enabled,omitempty"`
	Ephemeral         *bool       `json:"ephemeral,omitempty"`
	DisableUpdate     *bool       `json:"disableUpdate,omitempty"`
	Status            any         `json:"status,omitempty"`
	ProvisioningState any         `json:"provisioningState,omitempty"`
	AccessPoint       any         `json:"accessPoint,omitempty"`
}

// acknowledgement is the body in BrokerHttpClient.cs:223-226.
type acknowledgement struct {
	Request string `json:"runnerRequestId"`
}

// acquisition is AcquireJobRequest (Sdk/RSWebApi/Contracts/AcquireJobRequest.cs).
type acquisition struct {
	Message string `json:"jobMessageId"`
	OS      string `json:"runnerOS"`
	Billing string `json:"billingOwnerId,omitempty"`
}

// planAndJob is RenewJobRequest (Sdk/RSWebApi/Contracts/RenewJobRequest.cs).
type planAndJob struct {
	Plan string `json:"planId"`
	Job  string `json:"jobId"`
}

// completion is CompleteJobRequest (Sdk/RSWebApi/Contracts/CompleteJobRequest.cs).
type completion struct {
	planAndJob
	Conclusion  string                           `json:"conclusion"`
	Outputs     map[string]outputValue           `json:"outputs,omitempty"`
	StepResults []stepResult                     `json:"stepResults,omitempty"`
	Annotations []annotation                     `json:"annotations,omitempty"`
	Telemetry   []struct{ Type, Message string } `json:"telemetry,omitempty"`
	Environment string                           `json:"environmentUrl,omitempty"`
	Billing     string                           `json:"billingOwnerId,omitempty"`
	Failure     string                           `json:"infrastructureFailureCategory,omitempty"`
}

type outputValue struct {
	Value    string `json:"value"`
	IsSecret bool   `json:"isSecret,omitempty"`
}

// stepResult is StepResult (Sdk/RSWebApi/Contracts/StepResult.cs).
type stepResult struct {
	ID             string       `json:"external_id"`
	Number         int          `json:"number,omitempty"`
	Name           string       `json:"name,omitempty"`
	Action         string       `json:"action_name,omitempty"`
	Ref            string       `json:"ref,omitempty"`
	Type           string       `json:"type,omitempty"`
	Status         string       `json:"status"`
	Conclusion     string       `json:"conclusion"`
	StartedAt      string       `json:"started_at,omitempty"`
	CompletedAt    string       `json:"completed_at,omitempty"`
	LogURL         string       `json:"completed_log_url,omitempty"`
	LogLines       int64        `json:"completed_log_lines,omitempty"`
	Annotations    []annotation `json:"annotations,omitempty"`
	IsBackground   bool         `json:"is_background,omitempty"`
	Control        string       `json:"background_control_type,omitempty"`
	ControlStepIDs []string     `json:"background_control_step_ids,omitempty"`
}

// annotation is Annotation (Sdk/RSWebApi/Contracts/Annotation.cs).
type annotation struct {
	Level          string `json:"level,omitempty"`
	Message        string `json:"message,omitempty"`
	RawDetails     string `json:"rawDetails,omitempty"`
	Path           string `json:"path,omitempty"`
	Infrastructure bool   `json:"isInfrastructureIssue,omitempty"`
	StartLine      int64  `json:"startLine,omitempty"`
	EndLine        int64  `json:"endLine,omitempty"`
	StartColumn    int64  `json:"startColumn,omitempty"`
	EndColumn      int64  `json:"endColumn,omitempty"`
	StepNumber     int64  `json:"stepNumber,omitempty"`
}

// jobRef and stepRef begin each call to the results service (Sdk/WebApi/WebApi/Contracts.cs).
type jobRef struct {
	Run string `json:"workflow_run_backend_id"`
	Job string `json:"workflow_job_run_backend_id"`
}

func (r jobRef) ref() jobRef { return r }

type stepRef struct {
	jobRef
	Step string `json:"step_backend_id"`
}

// The uploaded types are JobLogsMetadataCreate, StepLogsMetadataCreate and
// StepSummaryMetadataCreate.
type uploadedJobLog struct {
	jobRef
	UploadedAt string `json:"uploaded_at"`
	Lines      int64  `json:"line_count"`
}

type uploadedStepLog struct {
	stepRef
	UploadedAt string `json:"uploaded_at"`
	Lines      int64  `json:"line_count"`
}

type uploadedSummary struct {
	stepRef
	UploadedAt string `json:"uploaded_at"`
	Size       int64  `json:"size"`
}

// stepsUpdate is StepsUpdateRequest (Contracts.cs:150-190).
type stepsUpdate struct {
	jobRef
	ChangeOrder int64 `json:"change_order"`
	Steps       []struct {
		ID             string   `json:"external_id"`
		Number         int      `json:"number"`
		Name           string   `json:"name"`
		Status         int      `json:"status"`
		StartedAt      string   `json:"started_at,omitempty"`
		CompletedAt    string   `json:"completed_at,omitempty"`
		Conclusion     int      `json:"conclusion"`
		IsBackground   bool     `json:"is_background,omitempty"`
		Control        string   `json:"background_control_type,omitempty"`
		ControlStepIDs []string `json:"background_control_step_ids,omitempty"`
		Group          string   `json:"parallel_group_id,omitempty"`
	} `json:"steps"`
}

// feedLines is TimelineRecordFeedLinesWrapper (Sdk/DTWebApi/WebApi/TimelineRecordFeedLinesWrapper.cs).
type feedLines struct {
	Count     int64    `json:"count"`
	Value     []string `json:"value"`
	StepID    string   `json:"stepId"`
	StartLine *int64   `json:"startLine,omitempty"`
}

// actionReferences is ActionReferenceRequestList (Sdk/WebApi/WebApi/LaunchContracts.cs:20-29).
type actionReferences struct {
	Actions []struct {
		Action  string `json:"action"`
		Version string `json:"version,omitempty"`
		Path    string `json:"path,omitempty"`
	} `json:"actions"`
	Dependencies []string `json:"actions_dependencies,omitempty"`
}

// strict decodes JSON into one of the types above. Its error names the first difference.
func strict(text []byte, into any) error {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w, which GitHub's runner does not send so", err)
	}
	var sent any
	if err := json.Unmarshal(text, &sent); err != nil {
		return err
	}
	return complete("", reflect.TypeOf(into).Elem(), sent)
}

// complete returns an error if a field is missing that is always sent.
func complete(path string, want reflect.Type, sent any) error {
	switch want.Kind() {
	case reflect.Slice:
		items, _ := sent.([]any)
		for i, item := range items {
			if err := complete(fmt.Sprintf("%s[%d]", path, i), want.Elem(), item); err != nil {
				return err
			}
		}
	case reflect.Struct:
		object, _ := sent.(map[string]any)
		for i := range want.NumField() {
			field := want.Field(i)
			if field.Anonymous {
				if err := complete(path, field.Type, sent); err != nil {
					return err
				}
				continue
			}
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			value, there := lookUp(object, name)
			switch {
			case there:
				if err := complete(path+"."+name, field.Type, value); err != nil {
					return err
				}
			case options == "" && name != "":
				return fmt.Errorf("%s is missing, which GitHub's runner sends", strings.TrimPrefix(path+"."+name, "."))
			}
		}
	}
	return nil
}

// lookUp ignores case, as the decoders of .NET and Go do.
func lookUp(object map[string]any, name string) (any, bool) {
	for key, value := range object {
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return nil, false
}

// body decodes a request's body strictly. It answers and records a difference.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<22))
	if err == nil {
		err = strict(text, into)
	}
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "the body: "+err.Error())
		return false
	}
	return true
}

// refuse answers a request that GitHub's runner would not send, and records why.
func refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	recordOf(r).Refused = why
	writeJSON(w, status, map[string]string{"code": "malformed", "msg": why, "message": why})
}

// queried checks that a request has exactly these query parameters (BrokerHttpClient.cs:71-101
// and 200-220).
func queried(w http.ResponseWriter, r *http.Request, names ...string) bool {
	query := r.URL.Query()
	for _, name := range names {
		if query.Get(name) == "" {
			refuse(w, r, http.StatusBadRequest, name+" is missing in the query, which GitHub's runner sends")
			return false
		}
		query.Del(name)
	}
	for name := range query {
		refuse(w, r, http.StatusBadRequest, name+" is in the query, which GitHub's runner does not send")
		return false
	}
	return true
}
