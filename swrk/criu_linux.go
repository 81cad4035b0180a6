//go:build amd64

package swrk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/crpie/crpie/internal/several"
)

// fronted is the environment variable that holds the pid of the front that has started a program as criu. If that
// program comes back here, by a wrapper for example, no request would end.
const fronted = "CRPIE_CRIU_FRONT"

// Pass executes the real criu in place of this process, with these arguments. It returns only if it cannot.
func (f *Front) Pass(args []string) error {
	path, err := f.RealCRIU()
	if err != nil {
		return err
	}
	env := append(os.Environ(), fronted+"="+strconv.Itoa(os.Getpid()))
	return fmt.Errorf("execve %s: %w", path, syscall.Exec(path, append([]string{path}, args...), env))
}

// RealCRIU finds the criu that does everything else: the configured one, or else the first of PATH that is not crpie.
func (f *Front) RealCRIU() (string, error) {
	if from := os.Getenv(fronted); from == strconv.Itoa(os.Getpid()) || from == strconv.Itoa(os.Getppid()) {
		return "", errors.New("what was started as criu has started crpie again; name criu itself: real-criu PATH in " +
			filepath.Join(f.ConfigDir, "containers.d"))
	}
	all := &config{Settings: defaults()}
	rules, err := f.rules()
	for _, r := range rules { // whatever is wrong with other lines is a restore's to say
		if len(r.conditions) == 0 {
			err = several.Join(err, all.follow([]rule{r}, nil))
		}
	}
	if all.RealCRIU != "" {
		return all.RealCRIU, isOther(all.RealCRIU)
	}
	if path := f.nextInPath(); path != "" {
		return path, nil
	}
	return "", errors.Join(errors.New(
		"no criu found in PATH besides crpie; install it, or name it: real-criu PATH in "+
			filepath.Join(f.ConfigDir, "containers.d")), err)
}

// nextInPath is the first criu of PATH that is not crpie.
func (f *Front) nextInPath() string {
	for _, dir := range filepath.SplitList(f.Getenv("PATH")) {
		path := filepath.Join(dir, "criu")
		if filepath.IsAbs(path) && isOther(path) == nil {
			return path
		}
	}
	return ""
}

// isOther returns an error if path is not a program, or is crpie under another name.
func isOther(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("criu: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("criu %s: it is not a program", path)
	}
	self, err := os.Stat("/proc/self/exe")
	if err == nil && os.SameFile(self, info) {
		err = fmt.Errorf("criu %s: it is crpie itself", path)
	}
	return err
}
