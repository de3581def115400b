package ghsim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Job is one of a workflow, in the small part of GitHub's language that has no
// expressions, no actions and no matrix.
type Job struct {
	Name       string            `yaml:"name"`
	Repository string            `yaml:"-"` // acme/api if empty
	RunsOn     Strings           `yaml:"runs-on"`
	Env        map[string]string `yaml:"env"`
	Container  Container         `yaml:"container"`
	Steps      []Step            `yaml:"steps"`
}

// Step of a job.
type Step struct {
	Name             string            `yaml:"name"`
	If               string            `yaml:"if"` // success(), failure(), cancelled() or always()
	Run              string            `yaml:"run"`
	Shell            string            `yaml:"shell"` // bash or sh
	WorkingDirectory string            `yaml:"working-directory"`
	Env              map[string]string `yaml:"env"`
	ContinueOnError  bool              `yaml:"continue-on-error"`
}

// Container that the steps of a job run in; without an image there is none.
type Container struct {
	Image   string            `yaml:"image"`
	Options string            `yaml:"options"`
	Env     map[string]string `yaml:"env"`
	Volumes []string          `yaml:"volumes"`
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
		if job.Name == "" {
			job.Name = key
		}
		env := maps.Clone(file.Env)
		if env == nil {
			env = map[string]string{}
		}
		maps.Copy(env, job.Env)
		job.Env = env
		if err := job.check(); err != nil {
			return nil, err
		}
		all = append(all, job)
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
	for i, step := range j.Steps {
		switch {
		case step.Run == "":
			return fmt.Errorf("job %s: step %d: only run is known", j.Name, i+1)
		case strings.Contains(step.Run+step.If+step.Name, "${{"):
			return fmt.Errorf("job %s: step %d: expressions are not known", j.Name, i+1)
		case !slices.Contains([]string{"", "success()", "failure()", "always()", "cancelled()"}, step.If):
			return fmt.Errorf("job %s: step %d: if: %s is not known", j.Name, i+1, step.If)
		case !slices.Contains([]string{"", "bash", "sh"}, step.Shell):
			return fmt.Errorf("job %s: step %d: shell %s is not known", j.Name, i+1, step.Shell)
		}
	}
	return nil
}

// title is GitHub's for a step without a name.
func (s Step) title() string {
	if s.Name != "" {
		return s.Name
	}
	first, _, _ := strings.Cut(strings.TrimSpace(s.Run), "\n")
	return "Run " + first
}
