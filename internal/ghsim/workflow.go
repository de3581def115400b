package ghsim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Job is a job of a workflow, in the part of GitHub's language without needs and without
// actions of other repositories. Texts may hold expressions, which the runner evaluates.
type Job struct {
	Name           string               `yaml:"name"`
	Key            string               `yaml:"-"` // in the workflow; if empty, the name is used
	Repository     string               `yaml:"-"` // acme/api if empty
	Ref            string               `yaml:"-"` // refs/heads/main if empty; only for caches
	RunsOn         Strings              `yaml:"runs-on"`
	TimeoutMinutes int                  `yaml:"timeout-minutes"` // 360 if not given
	Strategy       *Strategy            `yaml:"strategy"`
	Matrix         map[string]any       `yaml:"-"` // this job's values
	Env            map[string]string    `yaml:"env"`
	Defaults       Defaults             `yaml:"defaults"`
	Container      Container            `yaml:"container"`
	Services       map[string]Container `yaml:"services"`
	Permissions    map[string]string    `yaml:"permissions"` // of the job's own token; id-token: write permits an identity
	Steps          []Step               `yaml:"steps"`

	// Secrets and Vars belong to the repository. They are the values of secrets.NAME and
	// vars.NAME.
	Secrets map[string]string `yaml:"-"`
	Vars    map[string]string `yaml:"-"`

	index, total int // among the jobs of a matrix
}

// Defaults are the defaults of all steps.
type Defaults struct {
	Run struct {
		Shell            string `yaml:"shell"`
		WorkingDirectory string `yaml:"working-directory"`
	} `yaml:"run"`
}

// Step is a step of a job.
type Step struct {
	ID               string            `yaml:"id"`
	Name             string            `yaml:"name"`
	If               string            `yaml:"if"`
	Run              string            `yaml:"run"`
	Uses             string            `yaml:"uses"` // ./FOLDER of the workspace; the runner is refused any other
	With             map[string]string `yaml:"with"`
	Shell            string            `yaml:"shell"` // bash or sh
	WorkingDirectory string            `yaml:"working-directory"`
	Env              map[string]string `yaml:"env"`
	ContinueOnError  bool              `yaml:"continue-on-error"`
	TimeoutMinutes   int               `yaml:"timeout-minutes"`
}

// Container is the container that the steps of a job run in, or a service next to them.
// Without an image there is no container.
type Container struct {
	Image       string            `yaml:"image"`
	Credentials Credentials       `yaml:"credentials"`
	Options     string            `yaml:"options"`
	Env         map[string]string `yaml:"env"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
}

// Credentials are for the registry of an image.
type Credentials struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
}

// UnmarshalYAML also accepts just the name of an image.
func (c *Container) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&c.Image)
	}
	type plain Container
	return node.Decode((*plain)(c))
}

// Strings is a list that may also be written as one text.
type Strings []string

// UnmarshalYAML accepts both forms.
func (s *Strings) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*s = []string{node.Value}
		return nil
	}
	return node.Decode((*[]string)(s))
}

// ParseJobs reads the jobs of a workflow, in the order of the file. A job without a name is
// named by its key.
func ParseJobs(text []byte) ([]Job, error) {
	var file struct {
		Name string            `yaml:"name"`
		On   yaml.Node         `yaml:"on"`
		Env  map[string]string `yaml:"env"`
		Jobs yaml.Node         `yaml:"jobs"`

		Defaults Defaults `yaml:"defaults"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	if file.Jobs.Kind != yaml.MappingNode || len(file.Jobs.Content) == 0 {
		return nil, errors.New("workflow: it has no jobs")
	}
	var all []Job
	for i := 0; i < len(file.Jobs.Content); i += 2 {
		one := map[string]Job{}
		key := file.Jobs.Content[i].Value
		encoded, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: file.Jobs.Content[i : i+2]})
		if err != nil {
			return nil, fmt.Errorf("workflow: job %s: %w", key, err)
		}
		strict := yaml.NewDecoder(bytes.NewReader(encoded)) // a node's own Decode accepts unknown keys
		strict.KnownFields(true)
		if err := strict.Decode(&one); err != nil {
			return nil, fmt.Errorf("workflow: job %s: %w", key, err)
		}
		job := one[key]
		job.Key = key
		env := maps.Clone(file.Env)
		if env == nil {
			env = map[string]string{}
		}
		maps.Copy(env, job.Env)
		job.Env = env
		if job.Defaults == (Defaults{}) {
			job.Defaults = file.Defaults
		}
		expanded, err := job.expand()
		if err != nil {
			return nil, err
		}
		for _, each := range expanded {
			if err := each.check(); err != nil {
				return nil, err
			}
		}
		all = append(all, expanded...)
	}
	return all, nil
}

// check refuses a job that this stand-in could not give to a runner faithfully.
func (j Job) check() error {
	switch {
	case j.Name == "":
		return errors.New("a job without a name")
	case len(j.RunsOn) == 0:
		return fmt.Errorf("job %s: runs-on is missing", j.Name)
	case len(j.Steps) == 0:
		return fmt.Errorf("job %s: it has no steps", j.Name)
	}
	for _, text := range j.texts() {
		if _, err := split(text); err != nil {
			return fmt.Errorf("job %s: %w", j.Name, err)
		}
	}
	for i, step := range j.Steps {
		switch {
		case (step.Run == "") == (step.Uses == ""):
			return fmt.Errorf("job %s: step %d: either run or uses is needed", j.Name, i+1)
		case step.Uses != "" && !strings.HasPrefix(step.Uses, "./") && !strings.Contains(step.Uses, "@"):
			return fmt.Errorf("job %s: step %d: uses: %s is neither ./FOLDER nor OWNER/REPO@REF", j.Name, i+1, step.Uses)
		case !slices.Contains([]string{"", "bash", "sh"}, step.Shell):
			return fmt.Errorf("job %s: step %d: shell %s is not known", j.Name, i+1, step.Shell)
		case step.ID != "" && slices.ContainsFunc(j.Steps[:i], func(other Step) bool { return other.ID == step.ID }):
			return fmt.Errorf("job %s: step %d: the id %s is taken", j.Name, i+1, step.ID)
		}
	}
	return nil
}

// texts returns the texts of the job that may hold expressions.
func (j Job) texts() []string {
	all := slices.Collect(maps.Values(j.Env))
	for _, one := range append(slices.Collect(maps.Values(j.Services)), j.Container) {
		all = slices.Concat(all, []string{one.Image, one.Options, one.Credentials.Username, one.Credentials.Password}, one.Ports, one.Volumes, slices.Collect(maps.Values(one.Env)))
	}
	for _, step := range j.Steps {
		all = slices.Concat(all, []string{step.Name, step.If, step.Run, step.WorkingDirectory}, slices.Collect(maps.Values(step.Env)), slices.Collect(maps.Values(step.With)))
	}
	return all
}

// timeout returns the time after which GitHub cancels the job.
func (j Job) timeout() time.Duration {
	if j.TimeoutMinutes == 0 {
		return 360 * time.Minute
	}
	return time.Duration(j.TimeoutMinutes) * time.Minute
}

// title returns the name of a step, or GitHub's name for a step without one.
func (s Step) title() string {
	if s.Name != "" {
		return s.Name
	}
	first, _, _ := strings.Cut(strings.TrimSpace(s.Run+s.Uses), "\n")
	return "Run " + first
}
