//go:build amd64

package swrk

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/trust"
)

// ConfigFile tells what a configuration file holds.
type ConfigFile struct {
	Name    string
	Plugins []string // the values of its pie-plugin lines
	Err     error    // all that is wrong with it; nothing about the plugins' objects

	AllowUntrusted bool // pie-allow-untrusted
}

// Examine reads all configuration files as the restores of containers will: rules, criu's own files, and those that
// requests name. Files that are not there are left out.
func (f *Front) Examine(requests []string) (all []ConfigFile) {
	names, err := f.ruleFiles()
	if err != nil {
		all = append(all, ConfigFile{Name: filepath.Join(f.ConfigDir, "containers.d"), Err: err})
	}
	for _, name := range names {
		all = append(all, examineRules(name))
	}
	search := criuconf.Search{Secure: f.Secure, Getenv: f.Getenv}
	for _, file := range search.Files() {
		all = examine(all, file.Name, func(c *config) error { return c.readDefault(file) })
	}
	for _, name := range requests {
		all = examine(all, name, func(c *config) error { return c.readConfigFile(name) })
	}
	return all
}

// examineRules takes in all rules of a file, whichever containers they are for.
func examineRules(name string) ConfigFile {
	rules, err := readRules(name)
	c := &config{Settings: defaults()}
	errs := []error{err}
	for _, r := range rules {
		r.conditions = nil
		errs = append(errs, c.follow([]rule{r}, nil))
	}
	return ConfigFile{name, c.Plugins, several.Join(errs...), c.AllowUntrusted}
}

// examine appends what one of criu's files holds, if it is there.
func examine(all []ConfigFile, name string, read func(*config) error) []ConfigFile {
	if _, _, err := criuconf.Read(name, trust.Rule{}); errors.Is(err, fs.ErrNotExist) {
		return all
	}
	c := &config{Settings: defaults()}
	err := read(c)
	return append(all, ConfigFile{name, c.Plugins, err, c.AllowUntrusted})
}
