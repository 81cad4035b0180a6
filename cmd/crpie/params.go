package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/crpie/crpie/loader"
)

// viewParam is one parameter that the plugin declares. Kind "one of" is not a parameter: of those in values at most
// one may be given.
type viewParam struct {
	Name     string   `json:"name,omitempty"`
	Kind     string   `json:"kind"`
	Required bool     `json:"required"`
	Min      uint64   `json:"min,omitempty"`
	Max      uint64   `json:"max,omitempty"`
	Values   []string `json:"values,omitempty"`
	Default  *string  `json:"default,omitempty"` // what the plugin is handed if it is not given
	Help     string   `json:"help,omitempty"`
}

// viewParams gives a pointer to a default, because omitempty of encoding/json would leave out an empty string.
func viewParams(declared []loader.Param) (views []viewParam) {
	for _, d := range declared {
		v := viewParam{d.Name, d.Kind.String(), d.Required, d.Min, d.Max, d.Values, nil, d.Help}
		if d.Defaulted {
			v.Default = &d.Default
		}
		views = append(views, v)
	}
	return views
}

// otherwise says what holds if the parameter is not given.
func (p *viewParam) otherwise() string {
	switch {
	case p.Required:
		return "required"
	case p.Default != nil:
		return cmp.Or(*p.Default, `""`)
	}
	return "-"
}

// allowed says in words what the value may be.
func (p *viewParam) allowed() string {
	switch {
	case len(p.Values) > 0:
		return p.Kind + " " + strings.Join(p.Values, "|")
	case p.Max == math.MaxUint64:
		return fmt.Sprintf("%s from %d", p.Kind, p.Min)
	case p.Max != 0:
		return fmt.Sprintf("%s [%d, %d]", p.Kind, p.Min, p.Max)
	}
	return p.Kind
}

// synopsis writes parameters as a usage line does: NAME=TEXT [COUNT=1..8] {symbol=TEXT|addr=N}.
func synopsis(declared []loader.Param) string {
	var words []string
	written := map[string]bool{}
	for _, d := range declared {
		switch group := groupOf(declared, d.Name); {
		case d.Kind == loader.ParamOneOf || written[d.Name]:
		case group != nil:
			words = append(words, groupForm(declared, group))
			for _, member := range group.Values {
				written[member] = true
			}
		case d.Required:
			words = append(words, form(d))
		default:
			words = append(words, "["+form(d)+"]")
		}
	}
	return strings.Join(words, " ")
}

// groupOf finds the rule by which a parameter excludes others, or nil.
func groupOf(declared []loader.Param, name string) *loader.Param {
	i := slices.IndexFunc(declared, func(d loader.Param) bool {
		return d.Kind == loader.ParamOneOf && slices.Contains(d.Values, name)
	})
	if i < 0 {
		return nil
	}
	return &declared[i]
}

// groupForm writes the parameters of a rule as alternatives.
func groupForm(declared []loader.Param, group *loader.Param) string {
	var forms []string
	for _, d := range declared {
		if d.Kind != loader.ParamOneOf && slices.Contains(group.Values, d.Name) {
			forms = append(forms, form(d))
		}
	}
	if group.Required {
		return "{" + strings.Join(forms, "|") + "}"
	}
	return "[" + strings.Join(forms, "|") + "]"
}

// form writes one parameter with what its value may be.
func form(d loader.Param) string {
	value := map[loader.ParamKind]string{loader.ParamString: "TEXT", loader.ParamBool: "yes|no",
		loader.ParamInt: "N", loader.ParamSize: "SIZE", loader.ParamEnum: strings.Join(d.Values, "|")}[d.Kind]
	if d.Kind == loader.ParamInt && d.Max != math.MaxUint64 {
		value = fmt.Sprintf("%d..%d", d.Min, d.Max)
	}
	return d.Name + "=" + value
}

// listParams writes what may follow an object in --pie-plugin, for completions.
func listParams(w io.Writer, stdin io.Reader, file string) error {
	p, err := loadFrom(stdin, file, loader.Options{})
	if err != nil {
		return err
	}
	for _, d := range p.Params {
		if d.Kind == loader.ParamOneOf {
			continue
		}
		for _, value := range choices(d) {
			fmt.Fprintf(w, "%s=%s\t%s\n", d.Name, value, d.Help)
		}
	}
	for _, tasks := range []string{"root\tonly the root task", "pid:\tonly this task", "comm:\tonly tasks of this name"} {
		fmt.Fprintf(w, "select=%s\n", tasks)
	}
	return nil
}

// choices are the values that can be listed, or the empty beginning of others.
func choices(d loader.Param) []string {
	switch d.Kind {
	case loader.ParamEnum:
		return d.Values
	case loader.ParamBool:
		return []string{"yes", "no"}
	}
	return []string{""}
}
