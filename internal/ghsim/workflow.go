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

// Job is one of a workflow, in the part of GitHub's language that has no actions and
// no needs. Texts may hold expressions: the runner evaluates them.
type Job struct {
	Name           string               `yaml:"name"`
	Key            string               `yaml:"-"` // in the workflow; the name if empty
	Repository     string               `yaml:"-"` // acme/api if empty
	RunsOn         Strings              `yaml:"runs-on"`
	TimeoutMinutes int                  `yaml:"timeout-minutes"` // 360 if it is not given
	Strategy       *Strategy            `yaml:"strategy"`
	Matrix         map[string]any       `yaml:"-"` // the values of this job
	Env            map[string]string    `yaml:"env"`
	Defaults       Defaults             `yaml:"defaults"`
	Container      Container            `yaml:"container"`
	Services       map[string]Container `yaml:"services"`
	Steps          []Step               `yaml:"steps"`

	// Of the repository: what secrets.NAME and vars.NAME give.
	Secrets map[string]string `yaml:"-"`
	Vars    map[string]string `yaml:"-"`

	index, total int // of the jobs of a matrix
}

// Defaults of all steps.
type Defaults struct {
	Run struct {
		Shell            string `yaml:"shell"`
		WorkingDirectory string `yaml:"working-directory"`
	} `yaml:"run"`
}

// Step of a job.
type Step struct {
	ID               string            `yaml:"id"`
	Name             string            `yaml:"name"`
	If               string            `yaml:"if"`
	Run              string            `yaml:"run"`
	Shell            string            `yaml:"shell"` // bash or sh
	WorkingDirectory string            `yaml:"working-directory"`
	Env              map[string]string `yaml:"env"`
	ContinueOnError  bool              `yaml:"continue-on-error"`
	TimeoutMinutes   int               `yaml:"timeout-minutes"`
}

// Container that the steps of a job run in, or a service beside them; without an
// image there is none.
type Container struct {
	Image       string            `yaml:"image"`
	Credentials Credentials       `yaml:"credentials"`
	Options     string            `yaml:"options"`
	Env         map[string]string `yaml:"env"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
}

// Credentials for the registry of an image.
type Credentials struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
}

// UnmarshalYAML takes a name of an image too.
func (c *Container) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&c.Image)
	}
	type plain Container
	return node.Decode((*plain)(c))
}

// Strings is a list that may be written as one text.
type Strings []string

// UnmarshalYAML takes both.
func (s *Strings) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*s = []string{node.Value}
		return nil
	}
	return node.Decode((*[]string)(s))
}

// ParseJobs reads a workflow: jobs by their keys, in the order of the file. A job
// without a name has its key as one.
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
		strict := yaml.NewDecoder(bytes.NewReader(encoded)) // a node's own Decode lets unknown keys pass
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

// check refuses what this stand-in could not give to a runner faithfully.
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
		case step.Run == "":
			return fmt.Errorf("job %s: step %d: only run is known", j.Name, i+1)
		case !slices.Contains([]string{"", "bash", "sh"}, step.Shell):
			return fmt.Errorf("job %s: step %d: shell %s is not known", j.Name, i+1, step.Shell)
		case step.ID != "" && slices.ContainsFunc(j.Steps[:i], func(other Step) bool { return other.ID == step.ID }):
			return fmt.Errorf("job %s: step %d: the id %s is taken", j.Name, i+1, step.ID)
		}
	}
	return nil
}

// texts of the job that may hold expressions.
func (j Job) texts() []string {
	all := slices.Collect(maps.Values(j.Env))
	for _, one := range append(slices.Collect(maps.Values(j.Services)), j.Container) {
		all = slices.Concat(all, []string{one.Image, one.Options, one.Credentials.Username, one.Credentials.Password}, one.Ports, one.Volumes, slices.Collect(maps.Values(one.Env)))
	}
	for _, step := range j.Steps {
		all = slices.Concat(all, []string{step.Name, step.If, step.Run, step.WorkingDirectory}, slices.Collect(maps.Values(step.Env)))
	}
	return all
}

// timeout of the job, after which GitHub cancels it.
func (j Job) timeout() time.Duration {
	if j.TimeoutMinutes == 0 {
		return 360 * time.Minute
	}
	return time.Duration(j.TimeoutMinutes) * time.Minute
}

// title is GitHub's for a step without a name.
func (s Step) title() string {
	if s.Name != "" {
		return s.Name
	}
	first, _, _ := strings.Cut(strings.TrimSpace(s.Run), "\n")
	return "Run " + first
}
