package swrk

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/escape"
)

// container is what rules ask about.
type container struct {
	names, images []string // all that it is called, and its image
	annotations   map[string]string
}

// rule holds for the containers that meet all of its conditions; without any, for all.
type rule struct {
	conditions []condition
	statements []criuconf.Statement
}

// condition is one word of a header: image=PATTERN, name=PATTERN or annotation=KEY=PATTERN.
type condition struct{ kind, key, pattern string }

// maxRules bounds a file.
const maxRules = 1000

// parseRules reads a file of containers.d. Problems come all together, each with file and line.
func parseRules(file, text string) (rules []rule, problems []string) {
	rules = []rule{{}}
	lines, first := strings.Split(text, "\n"), 0
	for i, line := range lines {
		header := strings.TrimSpace(line)
		if !strings.HasPrefix(header, "[") {
			continue
		}
		if len(rules) > maxRules {
			return nil, append(problems, fmt.Sprintf("%s:%d: more than %d headers", file, i+1, maxRules))
		}
		problems = append(problems, rules[len(rules)-1].fill(file, lines[first:i], first+1)...)
		first = i + 1
		conditions, err := parseHeader(header)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s:%d: %v", file, i+1, err))
		}
		rules = append(rules, rule{conditions: conditions})
	}
	return rules, append(problems, rules[len(rules)-1].fill(file, lines[first:], first+1)...)
}

// fill takes in the lines of a rule, the first of which has the number first.
func (r *rule) fill(file string, lines []string, first int) (problems []string) {
	statements, problems := criuconf.ParseLines(file, lines, first)
	for _, st := range statements {
		o := ours(&st)
		if o == nil {
			problems = append(problems, unknown(&st).Error())
			continue
		}
		trial := defaults()
		if err := trial.apply(o, &st); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if o.name == "real-criu" && len(r.conditions) > 0 {
			problems = append(problems, st.Source+
				": real-criu: it is for all containers; write it above the first header")
		}
		r.statements = append(r.statements, st)
	}
	return problems
}

// parseHeader reads "[image=redis:* name=web-?]".
func parseHeader(header string) (all []condition, err error) {
	inside, ok := strings.CutSuffix(strings.TrimPrefix(header, "["), "]")
	words := strings.Fields(inside)
	if !ok || len(words) == 0 {
		return nil, fmt.Errorf("%s: want [image=PATTERN], [name=PATTERN], [annotation=KEY=PATTERN], or several of them apart",
			escape.Name(header))
	}
	for _, word := range words {
		c := condition{}
		c.kind, c.pattern, ok = strings.Cut(word, "=")
		if c.kind == "annotation" && ok {
			c.key, c.pattern, ok = strings.Cut(c.pattern, "=")
		}
		if !ok || c.kind != "annotation" && c.kind != "image" && c.kind != "name" {
			return nil, fmt.Errorf("%s: want image=PATTERN, name=PATTERN or annotation=KEY=PATTERN",
				escape.Name(word))
		}
		all = append(all, c)
	}
	return all, nil
}

// matches reports whether the rule holds for a container.
func (r *rule) matches(c *container) bool {
	for _, one := range r.conditions {
		if !one.holds(c) {
			return false
		}
	}
	return true
}

// holds reports whether a container meets the condition.
func (one *condition) holds(c *container) bool {
	values := c.names
	switch one.kind {
	case "image":
		values = c.images
	case "annotation":
		value, ok := c.annotations[one.key]
		return ok && glob(one.pattern, value)
	}
	for _, v := range values {
		if glob(one.pattern, v) {
			return true
		}
	}
	return false
}

// glob compares s with a pattern in which * stands for anything, slashes too, and ? for one byte. Only the last *
// is ever tried again, so the time is at most the product of both lengths.
func glob(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
