//go:build amd64

package swrk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/trust"
)

// DefaultConfigDir is where rules are looked for, in containers.d.
const DefaultConfigDir = "/etc/crpie"

// maxFiles bounds containers.d.
const maxFiles = 256

// config is what all files together say.
type config struct {
	Settings
	criu     criuFile // of the request's config_file, whose word holds against the request's
	defaults criuFile // of criu's own files, against which the request's holds
	stripped string   // config_file without the lines that are crpie's
	found    bool     // config_file exists
	changed  bool     // there are such lines, which criu must not see
	notes    []string
}

// criuFile is what a file says to criu that concerns crpie as well.
type criuFile struct{ imagesDir, workDir, logFile string }

// rules reads the files of containers.d in the order of their names.
func (f *Front) rules() (all []rule, err error) {
	names, err := f.ruleFiles()
	errs := []error{err}
	for _, name := range names {
		rules, err := readRules(name)
		all, errs = append(all, rules...), append(errs, err)
	}
	return all, several.Join(errs...)
}

// ruleFiles names the files of containers.d.
func (f *Front) ruleFiles() (names []string, err error) {
	dir := filepath.Join(f.ConfigDir, "containers.d")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, notMissing(err)
	}
	info, err := os.Stat(dir)
	if err == nil {
		err = trust.Rule{}.CheckNamed(dir, info)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("%s: more than %d files", dir, maxFiles)
	}
	return names, nil
}

// readRules reads one of them.
func readRules(name string) ([]rule, error) {
	text, distrust, err := criuconf.Read(name, trust.Rule{})
	if distrust != nil {
		return nil, distrust
	}
	rules, problems := parseRules(name, text)
	return rules, several.Join(append([]error{err}, asErrors(problems)...)...)
}

func asErrors(problems []string) (errs []error) {
	for _, p := range problems {
		errs = append(errs, errors.New(p))
	}
	return errs
}

// unlessCRIUs is why a file is not to be followed, if lines in it are crpie's: criu follows its own in anybody's file.
func unlessCRIUs(distrust error, statements []criuconf.Statement) error {
	if slices.ContainsFunc(statements, func(st criuconf.Statement) bool { return ours(&st) != nil }) {
		return distrust
	}
	return nil
}

// read takes all files together: rules, criu's own files, and the request's config_file, whose word holds.
func (f *Front) read(configFile string, describe func() (*container, error)) (*config, error) {
	all := &config{Settings: defaults()}
	rules, err := f.rules()
	errs := []error{err, all.follow(rules, describe)}
	search := criuconf.Search{Secure: f.Secure, Getenv: f.Getenv}
	for _, file := range search.Files() {
		errs = append(errs, all.readDefault(file))
	}
	if configFile != "" {
		errs = append(errs, all.readConfigFile(configFile))
	}
	return all, several.Join(errs...)
}

// follow applies the rules that hold for the container, which is looked at only if a rule asks.
func (all *config) follow(rules []rule, describe func() (*container, error)) error {
	c := &container{}
	if slices.ContainsFunc(rules, func(r rule) bool { return len(r.conditions) > 0 }) {
		var err error
		if c, err = describe(); err != nil {
			return fmt.Errorf("rules of containers: %w", err)
		}
	}
	var errs []error
	for _, r := range rules {
		if !r.matches(c) {
			continue
		}
		for _, st := range r.statements {
			errs = append(errs, all.apply(ours(&st), &st))
		}
	}
	return several.Join(errs...)
}

// readDefault reads one of criu's own files, which criu reads as well: crpie's lines have to be comments there.
func (all *config) readDefault(file criuconf.File) error {
	text, distrust, err := criuconf.Read(file.Name, all.trust())
	if err != nil {
		return notMissing(err) // one that is missing is criu's to judge
	}
	statements, _ := criuconf.Parse(file.Name, text)
	errs := append(hiddenProblems(file.Name, text), unlessCRIUs(distrust, statements))
	for _, st := range statements {
		o := ours(&st)
		switch {
		case o != nil && !st.Hidden:
			errs = append(errs, fmt.Errorf(
				"%s: %s: criu reads this file and stops at what it does not know; write %s %s",
				st.Source, o.name,
				criuconf.Directive, strings.TrimPrefix(strings.Join(st.Words, " "), "--")))
		default:
			errs = append(errs, all.statement(&st, o, &all.defaults))
		}
	}
	return several.Join(errs...)
}

// readConfigFile reads the request's config_file. One that is missing is criu's to judge.
func (all *config) readConfigFile(name string) error {
	text, distrust, err := criuconf.Read(name, all.trust())
	if err != nil {
		return notMissing(err)
	}
	lines := strings.Split(text, "\n")
	statements, _ := criuconf.Parse(name, text)
	errs := append(hiddenProblems(name, text), unlessCRIUs(distrust, statements))
	for _, st := range statements {
		o := ours(&st)
		errs = append(errs, all.statement(&st, o, &all.criu))
		if o != nil && !st.Hidden {
			lines[st.Line-1], all.changed = "", true
		}
	}
	all.stripped, all.found = strings.Join(lines, "\n"), true
	return several.Join(errs...)
}

// hiddenProblems are those of the lines that criu skips as comments; at all others criu stops itself.
func hiddenProblems(name, text string) []error {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(strings.TrimSpace(line), criuconf.Directive) {
			lines[i] = ""
		}
	}
	_, problems := criuconf.ParseLines(name, lines, 1)
	return asErrors(problems)
}

func notMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// statement takes in a line of one of criu's files.
func (all *config) statement(st *criuconf.Statement, o *option, of *criuFile) error {
	name, value, _ := st.Option()
	switch {
	case o != nil:
		return all.apply(o, st)
	case strings.HasPrefix(name, prefix):
		return unknown(st)
	case st.Hidden:
		all.notes = append(all.notes, fmt.Sprintf("%s: %s has no effect here: it is for crpie restore",
			st.Source, name))
	case abbreviates(name, "images-dir", len("im")):
		of.imagesDir = value
	case abbreviates(name, "work-dir", len("wo")):
		of.workDir = value
	case abbreviates(name, "log-file", len("log-f")):
		of.logFile = value
	}
	return nil
}

// abbreviates reports whether getopt_long(3) takes name for an option whose first least bytes no other option has.
func abbreviates(name, option string, least int) bool {
	return len(name) >= least && strings.HasPrefix(option, name)
}

// withoutImagesDir is the text for criu when crpie names another image directory.
func (all *config) withoutImagesDir() string {
	if all.criu.imagesDir == "" {
		return all.stripped
	}
	lines := strings.Split(all.stripped, "\n")
	statements, _ := criuconf.Parse("", all.stripped)
	for _, st := range statements {
		if name, _, _ := st.Option(); !st.Hidden && abbreviates(name, "images-dir", len("im")) {
			lines[st.Line-1] = ""
		}
	}
	return strings.Join(lines, "\n")
}
