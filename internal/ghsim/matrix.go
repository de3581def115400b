package ghsim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Strategy turns one job into several.
type Strategy struct {
	Matrix      Matrix `yaml:"matrix"`
	FailFast    *bool  `yaml:"fail-fast"` // true if not given: one failure cancels the others
	MaxParallel int    `yaml:"max-parallel"`
}

func (s *Strategy) failFast() bool { return s.FailFast == nil || *s.FailFast }

// Matrix has the axes, in the order of the file, and the combinations to add and to leave out.
type Matrix struct {
	axes             []axis
	include, exclude []map[string]any
}

type axis struct {
	name   string
	values []any
}

// UnmarshalYAML keeps the order of the axes, because the names of jobs show it.
func (m *Matrix) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: the matrix is not a mapping", node.Line)
	}
	for i := 0; i < len(node.Content); i += 2 {
		name, value := node.Content[i].Value, node.Content[i+1]
		var err error
		switch name {
		case "include":
			err = value.Decode(&m.include)
		case "exclude":
			err = value.Decode(&m.exclude)
		default:
			one := axis{name: name}
			err = value.Decode(&one.values)
			m.axes = append(m.axes, one)
		}
		if err != nil {
			return fmt.Errorf("line %d: matrix: %s: %w", value.Line, name, err)
		}
	}
	return nil
}

// combination holds the values of one job; keys holds their order.
type combination struct {
	keys     []string
	values   map[string]any
	original int // how many of keys come from the axes, or from an include that is a job of its own
}

func (c *combination) set(key string, value any) {
	if _, known := c.values[key]; !known {
		c.keys = append(c.keys, key)
	}
	c.values[key] = value
}

func (c *combination) has(some map[string]any) bool {
	for key, value := range some {
		if have, known := c.values[key]; !known || shown(have) != shown(value) {
			return false
		}
	}
	return true
}

// combinations returns the jobs of a matrix by GitHub's rules: the product of the axes,
// without the excluded combinations. An include joins each combination whose axis values it
// does not change, and is a job of its own if it joins none.
func (m *Matrix) combinations() []*combination {
	var all []*combination
	if len(m.axes) > 0 {
		all = []*combination{{values: map[string]any{}}}
	}
	for _, axis := range m.axes {
		var longer []*combination
		for _, one := range all {
			for _, value := range axis.values {
				next := &combination{keys: slices.Clone(one.keys), values: maps.Clone(one.values)}
				next.set(axis.name, value)
				next.original = len(next.keys)
				longer = append(longer, next)
			}
		}
		all = longer
	}
	all = slices.DeleteFunc(all, func(c *combination) bool {
		return slices.ContainsFunc(m.exclude, c.has)
	})
	ofAxes := len(all)
	for _, more := range m.include {
		joined := false
		for _, one := range all[:ofAxes] {
			same := map[string]any{}
			for _, key := range one.keys[:one.original] {
				if value, named := more[key]; named {
					same[key] = value
				}
			}
			if !one.has(same) {
				continue
			}
			joined = true
			for _, key := range slices.Sorted(maps.Keys(more)) {
				one.set(key, more[key])
			}
		}
		if !joined {
			alone := &combination{values: map[string]any{}}
			for _, key := range slices.Sorted(maps.Keys(more)) {
				alone.set(key, more[key])
			}
			alone.original = len(alone.keys)
			all = append(all, alone)
		}
	}
	return all
}

var matrixValue = regexp.MustCompile(`\$\{\{\s*matrix\.([\w-]+)\s*\}\}`)

// fill puts a matrix's values into a text that GitHub itself evaluates: a job's name or label.
// Other expressions are refused there.
func fill(text string, values map[string]any) (string, error) {
	text = matrixValue.ReplaceAllStringFunc(text, func(found string) string {
		return shown(values[matrixValue.FindStringSubmatch(found)[1]])
	})
	if strings.Contains(text, "${{") {
		return "", fmt.Errorf("only ${{ matrix.NAME }} is known here: %s", text)
	}
	return text, nil
}

// expand returns the jobs of a matrix, or the one job without a matrix.
func (j Job) expand() ([]Job, error) {
	var jobs []Job
	all := []*combination{nil}
	if j.Strategy != nil {
		if all = j.Strategy.Matrix.combinations(); len(all) == 0 {
			return nil, fmt.Errorf("job %s: its matrix has no jobs", j.Key)
		}
	}
	for i, one := range all {
		job := j
		job.index, job.total = i, len(all)
		if one != nil {
			job.Matrix = one.values
		}
		if job.Name == "" {
			job.Name = job.Key
			if one != nil {
				var values []string
				for _, key := range one.keys[:one.original] {
					values = append(values, shown(one.values[key]))
				}
				job.Name += " (" + strings.Join(values, ", ") + ")"
			}
		}
		var err error
		if job.Name, err = fill(job.Name, job.Matrix); err != nil {
			return nil, fmt.Errorf("job %s: name: %w", j.Key, err)
		}
		job.RunsOn = slices.Clone(j.RunsOn)
		for l := range job.RunsOn {
			if job.RunsOn[l], err = fill(job.RunsOn[l], job.Matrix); err != nil {
				return nil, fmt.Errorf("job %s: runs-on: %w", j.Key, err)
			}
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}
