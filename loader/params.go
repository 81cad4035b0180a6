package loader

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/abi"
)

// ParamKind says what the values of a parameter are; the numbers are CRPIE_PARAM_KIND_* of
// plugin-sdk/include/crpie/abi.h.
type ParamKind uint32

// The kinds.
const (
	ParamNone   = ParamKind(abi.ParamNone) // declares only that there are no others
	ParamString = ParamKind(abi.ParamString)
	ParamInt    = ParamKind(abi.ParamInt)  // a number in [Min, Max]
	ParamBool   = ParamKind(abi.ParamBool) // "yes", "no" and their like
	ParamEnum   = ParamKind(abi.ParamEnum) // one of Values
	ParamSize   = ParamKind(abi.ParamSize) // a number of bytes in [Min, Max], with or without a unit
	ParamOneOf  = ParamKind(abi.ParamOneOf)
)

// Known reports whether k is a kind of this version of the plugin interface.
func (k ParamKind) Known() bool { return abi.ParamKind(k).Known() }

// String names the kind, or gives "kind N" for an unknown number.
func (k ParamKind) String() string {
	if !k.Known() {
		return fmt.Sprintf("kind %d", uint32(k))
	}
	return abi.ParamKind(k).String()
}

// Param is a parameter that a plugin declares, or with Kind ParamOneOf a rule about some of them.
type Param struct {
	Name     string
	Kind     ParamKind
	Required bool
	Min, Max uint64   // of numbers and sizes
	Values   []string // what an enum may be, or the names of a rule
	Help     string   // a line

	InTask bool // the plugin can read the value from a file

	Defaulted bool   // the plugin is handed Default if the parameter is not given
	Default   string // a value of the kind
}

// oldParamRecord is the size of a record before version 3 of the interface, which ended at the default, in bytes.
const oldParamRecord = abi.ParamRecordDefOff

// readParams reads the records of one section crpie_params. The same declaration may come twice: ld -r joins objects
// that include one header.
func (p *parser) readParams(section int) {
	p.records(section, oldParamRecord, func(at Offset, rec []byte) {
		d, why := readParam(rec)
		if why == "" && d.Kind != ParamNone {
			why = p.declare(d)
		}
		if why != "" {
			p.reportf(CodeParam, []Place{{Section: p.sectionName(section), Offset: at}}, "%s", why)
		}
		p.plugin.DeclaresParams = true
	})
}

// declare adds a parameter, or reports why it cannot be declared.
func (p *parser) declare(d Param) (why string) {
	if p.params == nil {
		p.params = map[string]int{}
	}
	key := d.Name + " " + strings.Join(d.Values, " ")
	if d.Kind != ParamOneOf {
		key = d.Name
	}
	i, ok := p.params[key]
	if !ok {
		p.params[key] = len(p.plugin.Params)
		p.plugin.Params = append(p.plugin.Params, d)
		return ""
	}
	if old := p.plugin.Params[i]; old.Kind != d.Kind || old.Min != d.Min || old.Max != d.Max ||
		!slices.Equal(old.Values, d.Values) || old.Defaulted != d.Defaulted || old.Default != d.Default ||
		old.InTask != d.InTask {
		return fmt.Sprintf("parameter %q is declared twice, as different things", d.Name)
	}
	p.plugin.Params[i].Required = p.plugin.Params[i].Required || d.Required
	return ""
}

// readParam reads a record of a parameter; why says what is wrong with it.
func readParam(rec []byte) (d Param, why string) {
	kind := le32(rec[abi.ParamRecordKindOff:])
	name, ok := text(rec[abi.ParamRecordNameOff:abi.ParamRecordValuesOff])
	values, ok2 := text(rec[abi.ParamRecordValuesOff:abi.ParamRecordHelpOff])
	help, ok3 := text(rec[abi.ParamRecordHelpOff:abi.ParamRecordDefOff])
	flags := le32(rec[abi.ParamRecordFlagsOff:])
	d = Param{
		Name: name, Kind: ParamKind(kind), Required: flags&abi.ParamRequired != 0,
		Defaulted: flags&abi.ParamDefaulted != 0,
		InTask:    flags&abi.ParamInTask != 0,
		Min:       le64(rec[abi.ParamRecordMinOff:]), Max: le64(rec[abi.ParamRecordMaxOff:]),
		Values: strings.Fields(values), Help: help,
	}
	ok4 := true
	if len(rec) >= abi.ParamRecordSize {
		d.Default, ok4 = text(rec[abi.ParamRecordDefOff:abi.ParamRecordSize])
	}
	named := d.Kind != ParamNone && d.Kind != ParamOneOf
	switch {
	case !ok || !ok2 || !ok3 || !ok4:
		return d, fmt.Sprintf("parameter %q: its texts are not ended, or have characters that cannot be printed", name)
	case !d.Kind.Known():
		return d, fmt.Sprintf("parameter %q is of kind %d; known are 0 to %d", name, kind, ParamOneOf)
	case named && (name == "" || strings.ContainsAny(name, " ,=@")):
		return d, fmt.Sprintf("parameter %q: a name has no space, comma, = or @", name)
	case name == selectParam:
		return d, fmt.Sprintf("parameter %q is crpie's own: it says in which tasks a plugin runs", name)
	case d.Kind == ParamEnum && len(d.Values) == 0, d.Kind == ParamOneOf && len(d.Values) < 2:
		return d, fmt.Sprintf("parameter %q: its list of words is too short", name)
	case (d.Kind == ParamInt || d.Kind == ParamSize) && d.Min > d.Max:
		return d, fmt.Sprintf("parameter %q is in [%d, %d], which is empty", name, d.Min, d.Max)
	}
	if d.InTask && d.Kind != ParamString {
		return d, fmt.Sprintf("parameter %q: only strings are read from files in the task (CRPIE_IN_TASK)", name)
	}
	return d, d.wrongDefault()
}

// wrongDefault says why a parameter cannot have the default that it has; "" if it can, or has none.
func (d *Param) wrongDefault() string {
	switch {
	case !d.Defaulted:
		return ""
	case d.Kind == ParamNone || d.Kind == ParamOneOf:
		return fmt.Sprintf("a record of kind %q has no default", d.Kind)
	case d.Required:
		return fmt.Sprintf("parameter %q is required and has a default: it can be one of these", d.Name)
	}
	if why := d.wrong(d.Default); why != "" {
		return fmt.Sprintf("parameter %q: its default %q %s", d.Name, d.Default, why)
	}
	return ""
}

// selectParam is the one key of --pie-plugin that plugins do not get.
const selectParam = "select"

// text is a field with a terminating NUL, of printable ASCII characters.
func text(field []byte) (s string, ok bool) {
	end := bytes.IndexByte(field, 0)
	if end < 0 {
		return "", false
	}
	bad := func(r rune) bool { return r < ' ' || r > '~' }
	return string(field[:end]), !bytes.ContainsFunc(field[:end], bad)
}

// checkRules wants every name of a rule to be a parameter, and to be without a default: it would always be given.
func (p *parser) checkRules() {
	for _, d := range p.plugin.Params {
		if d.Kind != ParamOneOf {
			continue
		}
		for _, name := range d.Values {
			switch member := p.plugin.param(name); {
			case member == nil:
				p.reportf(CodeParam, nil, "CRPIE_PARAM_ONE_OF names %q, which is not a parameter", name)
			case member.Defaulted:
				p.reportf(CodeParam, nil, "CRPIE_PARAM_ONE_OF names %q, which has a default", name)
			}
		}
	}
}

func (p *Plugin) param(name string) *Param {
	i := slices.IndexFunc(p.Params, func(d Param) bool { return d.Name == name && d.Kind != ParamOneOf })
	if i < 0 {
		return nil
	}
	return &p.Params[i]
}

// CheckParam returns an error if the plugin does not take the parameter. A plugin without declarations takes any.
func (p *Plugin) CheckParam(name, value string) error { return p.CheckParamFrom(name, value, "") }

// CheckParamFrom is CheckParam for a value that was read from source, such as a file: the error shows source in place
// of the value, which may be a secret. An empty source stands for a value that may be shown.
func (p *Plugin) CheckParamFrom(name, value, source string) error {
	if !p.DeclaresParams {
		return nil
	}
	d := p.param(name)
	if d == nil {
		return fmt.Errorf("plugin %s has no parameter %q: %s", p.Name, name, p.hint(name))
	}
	if why := d.wrong(value); why != "" {
		if source == "" {
			source = strconv.Quote(value)
		}
		return fmt.Errorf("plugin %s: parameter %s=%s %s", p.Name, name, source, why)
	}
	return nil
}

// CheckInTask returns an error if the plugin cannot read the parameter's value from a file when its hook runs.
func (p *Plugin) CheckInTask(name string) error {
	d := p.param(name)
	switch {
	case d == nil && p.DeclaresParams:
		return p.CheckParam(name, "")
	case d == nil || !d.InTask:
		return fmt.Errorf("plugin %s: parameter %s is not one that the plugin reads from a file in the task (CRPIE_IN_TASK): "+
			"give a value, @FILE, @fd:N or @env:NAME", p.Name, name)
	}
	return nil
}

// CheckGiven says which parameters are missing, and which exclude each other; given reports whether one is there.
func (p *Plugin) CheckGiven(given func(name string) bool) (problems []error) {
	for _, d := range p.Params {
		if d.Kind != ParamOneOf {
			if d.Required && !given(d.Name) {
				problems = append(problems, fmt.Errorf("plugin %s: parameter %s is missing: %s",
					p.Name, d.Name, d.Help))
			}
			continue
		}
		there := slices.DeleteFunc(slices.Clone(d.Values), func(name string) bool { return !given(name) })
		switch {
		case len(there) > 1:
			problems = append(problems, fmt.Errorf("plugin %s: parameters %s exclude each other", p.Name,
				strings.Join(there, " and ")))
		case len(there) == 0 && d.Required:
			problems = append(problems, fmt.Errorf("plugin %s: one of the parameters %s is missing",
				p.Name, strings.Join(d.Values, ", ")))
		}
	}
	return problems
}

// hint names the parameter that was probably meant, or all.
func (p *Plugin) hint(name string) string {
	var names []string
	for _, d := range p.Params {
		if d.Kind != ParamOneOf {
			names = append(names, d.Name)
		}
	}
	switch best := closest(name, names); {
	case best != "":
		return fmt.Sprintf("did you mean %s?", best)
	case len(names) == 0:
		return "it takes none"
	}
	return "it has " + strings.Join(names, ", ")
}

// closest finds the word that differs least from another, if any is near.
func closest(word string, words []string) (best string) {
	limit := min(len(word)/2, 2) + 1 // an exchange of two letters is two edits
	for _, w := range words {
		if d := distance(word, w, limit); d < limit {
			best, limit = w, d
		}
	}
	return best
}

// wrong says why a value is not of the parameter's kind, as <crpie/param.h> reads it; "" if it is.
func (d *Param) wrong(value string) string {
	switch d.Kind {
	case ParamString:
		if d.Required && value == "" {
			return "is empty"
		}
	case ParamInt:
		v, rest, err := number(value)
		return d.outside(v, err, rest != "", "is not a number")
	case ParamSize:
		v, rest, err := number(value)
		v, err, bad := scaled(v, err, rest)
		return d.outside(v, err, bad, "is not a size: digits, and perhaps K, M, G or T")
	case ParamBool:
		if !slices.Contains([]string{"0", "no", "false", "off", "1", "yes", "true", "on", ""}, value) {
			return "is neither yes nor no"
		}
	case ParamEnum:
		return d.noWord(value)
	}
	return ""
}

// noWord says why a value is not one of the words; empty: it is.
func (d *Param) noWord(value string) string {
	if slices.Contains(d.Values, value) {
		return ""
	}
	if best := closest(value, d.Values); best != "" {
		return fmt.Sprintf("is not known: did you mean %s?", best)
	}
	return "is not known: it can be " + strings.Join(d.Values, ", ")
}

// outside judges a number that was read with an error, or with something behind it.
func (d *Param) outside(v uint64, err error, bad bool, syntax string) string {
	switch {
	case bad || errors.Is(err, errSyntax):
		return syntax
	case err != nil || v < d.Min || v > d.Max:
		return fmt.Sprintf("is not in [%d, %d]", d.Min, d.Max)
	}
	return ""
}

var (
	errSyntax = errors.New("no digits")
	errRange  = errors.New("too large")
)

// number reads decimal digits, or hexadecimal ones behind 0x, and gives what follows them.
func number(s string) (v uint64, rest string, err error) {
	base := uint64(10)
	if len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'x' {
		base, s = 16, s[2:]
	}
	if s == "" || digit(s[0]) >= base {
		return 0, s, errSyntax
	}
	for ; s != "" && digit(s[0]) < base; s = s[1:] {
		if v > (math.MaxUint64-digit(s[0]))/base {
			return 0, "", errRange
		}
		v = v*base + digit(s[0])
	}
	return v, s, nil
}

// digit returns the value of a hexadecimal digit, 99 for other bytes.
func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return 99
}

// scaled multiplies by the unit that follows a number; bad: it is none.
func scaled(v uint64, err error, unit string) (size uint64, _ error, bad bool) {
	if err != nil || unit == "" {
		return v, err, false
	}
	shift := 10 * (strings.IndexByte("KMGT", unit[0]&^0x20) + 1)
	switch {
	case len(unit) > 1 || shift == 0:
		return 0, nil, true
	case v > math.MaxUint64>>shift:
		return 0, errRange, false
	}
	return v << shift, nil, false
}
