package pluginspec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
)

// maxValue bounds a value that is read from elsewhere, in bytes: the core carries it into every restored task.
const maxValue = 64 << 10

// values reads the values that are not on the command line. A descriptor can be read only once, but plugins may share
// it.
type values struct {
	descriptors map[string]string
}

// check reads what the values of a plugin's parameters refer to, and says everything that is wrong with them.
func (v *values) check(in *blob.Input) error {
	var problems []error
	given := map[string]bool{}
	for i := range in.Params {
		kv := &in.Params[i]
		given[kv.Key] = true
		err := v.read(kv)
		switch {
		case err != nil:
		case kv.InTask:
			err = in.Plugin.CheckInTask(kv.Key)
		default:
			err = in.Plugin.CheckParamFrom(kv.Key, kv.Value, kv.Source)
		}
		problems = append(problems, err)
	}
	problems = append(problems, bothWays(in.Params)...)
	problems = append(problems, in.Plugin.CheckGiven(func(name string) bool { return given[name] })...)
	return several.Join(problems...)
}

// bothWays refuses keys that are given as files to be read in the task and as values: plugins prefer the files,
// whatever comes last.
func bothWays(params []blob.Param) (problems []error) {
	told := map[string]bool{}
	for i, kv := range params {
		other := func(p blob.Param) bool { return p.Key == kv.Key && p.InTask != kv.InTask }
		if !told[kv.Key] && slices.ContainsFunc(params[:i], other) {
			told[kv.Key] = true
			problems = append(problems, fmt.Errorf("parameter %s is given as @task:FILE and as a value: give one of them",
				kv.Key))
		}
	}
	return problems
}

// inTask begins a value that the plugin reads when its hook runs.
const inTask = "task:"

// read replaces a value that begins with @ by what it refers to; @@ is an @.
func (v *values) read(kv *blob.Param) error {
	from, refers := strings.CutPrefix(kv.Value, "@")
	if !refers || strings.HasPrefix(from, "@") {
		kv.Value = from
		return nil
	}
	if file, later := strings.CutPrefix(from, inTask); later {
		if file == "" {
			return fmt.Errorf("parameter %s=%s: write @task:FILE", kv.Key, kv.Value)
		}
		kv.Value, kv.InTask = file, true
		return nil
	}
	text, err := v.from(from)
	if err != nil {
		return fmt.Errorf("parameter %s=%s: %w", kv.Key, kv.Value, err)
	}
	kv.Value, kv.Source = text, kv.Value
	return nil
}

// from reads env:NAME, fd:N or a file.
func (v *values) from(source string) (string, error) {
	kind, name, _ := strings.Cut(source, ":")
	switch kind {
	case "env":
		return environment(name)
	case "fd":
		return v.descriptor(name)
	}
	f, _, err := files.OpenRegular(source)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readValue(f)
}

func environment(name string) (string, error) {
	value, found := os.LookupEnv(name)
	if !found {
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return readValue(strings.NewReader(value))
}

// The standard streams, stdin(3).
const stdout, stderr = 1, 2

// descriptor reads an inherited descriptor to its end and lets it go: no task is to inherit a secret.
func (v *values) descriptor(number string) (string, error) {
	if text, ok := v.descriptors[number]; ok {
		return text, nil
	}
	n, err := strconv.ParseUint(number, 10, 31)
	switch {
	case err != nil:
		return "", errors.New("write @fd:N with the number of a descriptor")
	case n == stdout || n == stderr:
		return "", fmt.Errorf("descriptor %d is where crpie writes; write @fd:0 or @fd:3", n)
	case !inherited(int(n)):
		return "", fmt.Errorf("crpie was started without descriptor %s", number)
	}
	text, err := readDescriptor(int(n))
	if err != nil {
		return "", err
	}
	if v.descriptors == nil {
		v.descriptors = map[string]string{}
	}
	v.descriptors[number] = text
	return text, nil
}

// readDescriptor reads a descriptor, and closes it. Standard input becomes empty instead: what is opened next would be
// it.
func readDescriptor(n int) (string, error) {
	f := os.NewFile(uintptr(n), fmt.Sprintf("descriptor %d", n))
	if n == 0 {
		f = os.Stdin
	}
	text, err := readValue(f)
	if n != 0 {
		return text, errors.Join(err, f.Close())
	}
	return text, errors.Join(err, emptyStdin())
}

// readValue reads a value to its end, without the newline that editors and echo put there.
func readValue(r io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxValue+1))
	text := strings.TrimSuffix(string(raw), "\n")
	switch {
	case err != nil:
		return "", err
	case len(raw) > maxValue:
		return "", fmt.Errorf("longer than %d bytes", maxValue)
	case strings.ContainsRune(text, 0):
		return "", errors.New("has a NUL byte, at which the string would end in a plugin")
	}
	return text, nil
}
