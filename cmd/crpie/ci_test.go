//go:build linux && amd64

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// These tests do in a repository with a good and a bad plugin what docs/ci.md tells authors of plugins to have done.

// pluginRepository makes it the working directory.
func pluginRepository(t *testing.T) {
	t.Helper()
	sdk := filepath.Join(testenv.Root(), "plugin-sdk", "plugin.mk") // Root looks from the working directory
	t.Chdir(t.TempDir())
	must(t, os.Mkdir("hooks", 0o755))
	for name, text := range map[string]string{
		"hooks/good.c": goodSource, "hooks/bad.c": badSource,
		"Makefile": "CRPIE_PLUGIN = hooks/good.o hooks/bad.o\ninclude " + sdk + "\n",
	} {
		must(t, os.WriteFile(name, []byte(text), 0o644))
	}
	execute(t, "git", "init", "-q", ".")
	execute(t, "git", "add", ".")
	execute(t, "make", "-s", "CC=gcc")
}

// parseYAML reads YAML as Debian's python3-yaml does.
func parseYAML(t *testing.T, text string, into any) {
	t.Helper()
	testenv.NeedTool(t, "pre-commit") // depends on python3-yaml
	const script = "import json, sys, yaml; json.dump(yaml.load(sys.stdin, yaml.BaseLoader), sys.stdout)"
	cmd := exec.Command("/usr/bin/python3", "-c", script)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}
}

func readRoot(t *testing.T, name string) string {
	t.Helper()
	return string(mustRead(t, filepath.Join(testenv.Root(), name)))
}

// action carries out action.yml.
type action struct {
	t       *testing.T
	context map[string]string // of expressions
	uses    []string
	log     strings.Builder
}

type actionFile struct {
	Inputs map[string]struct{ Default string }
	Runs   struct {
		Steps []struct {
			ID, If, Uses, Name, Run string
			Env, With               map[string]string
		}
	}
}

var expression = regexp.MustCompile(`\$\{\{ ([a-z._-]+) \}\}`)

// fill replaces expressions; the only ones are names.
func (a *action) fill(text string) string {
	return expression.ReplaceAllStringFunc(text, func(whole string) string {
		name := expression.FindStringSubmatch(whole)[1]
		value, ok := a.context[name]
		if !ok {
			a.t.Errorf("action.yml: unknown %s", whole)
		}
		return value
	})
}

// holds evaluates the one form that a condition has here.
func (a *action) holds(condition string) bool {
	name, want, _ := strings.Cut(condition, " == ")
	return condition == "" || a.context[name] == strings.Trim(want, "'")
}

// runAction carries the steps out in RUNNER_TEMP, and returns the status of the one that failed, or 0. A crpie that is
// there already is not built again.
func runAction(t *testing.T, temp string, with map[string]string) (*action, int) {
	t.Helper()
	var file actionFile
	parseYAML(t, readRoot(t, "action.yml"), &file)
	_, err := os.Lstat(filepath.Join(temp, "crpie-bin"))
	built := err == nil
	here, err := os.Getwd()
	must(t, err)
	a := &action{t: t, context: map[string]string{
		"github.action_path": testenv.Root(), "github.action_ref": "v1.2.3",
	}}
	for name, in := range file.Inputs {
		a.context["inputs."+name] = in.Default
	}
	for name, value := range with {
		a.context["inputs."+name] = value
	}
	for _, step := range file.Runs.Steps {
		if !a.holds(step.If) || built && step.Name == "Build crpie" {
			continue
		}
		if step.Uses != "" {
			a.uses = append(a.uses, step.Uses+" "+a.fill(strings.Join([]string{step.With["go-version-file"],
				step.With["sarif_file"]}, "")))
			continue
		}
		output := filepath.Join(temp, "output")
		must(t, os.WriteFile(output, nil, 0o644))
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
		cmd.Env = append(os.Environ(), "RUNNER_TEMP="+temp, "GITHUB_WORKSPACE="+here, "GITHUB_OUTPUT="+output)
		for name, value := range step.Env {
			cmd.Env = append(cmd.Env, name+"="+a.fill(value))
		}
		out, err := cmd.CombinedOutput()
		a.log.Write(out)
		if err != nil {
			return a, cmd.ProcessState.ExitCode()
		}
		set, err := os.ReadFile(output)
		must(t, err)
		for _, line := range strings.Fields(string(set)) {
			name, value, _ := strings.Cut(line, "=")
			a.context["steps."+step.ID+".outputs."+name] = value
		}
	}
	return a, 0
}

func TestGitHubAction(t *testing.T) {
	pluginRepository(t)
	a, status := runAction(t, t.TempDir(), nil)
	want := []string{"actions/setup-go@v5 " + filepath.Join(testenv.Root(), "go.mod"),
		"github/codeql-action/upload-sarif@v4 crpie.sarif"}
	if status != exitFailed || strings.Join(a.uses, "\n") != strings.Join(want, "\n") ||
		!strings.Contains(a.log.String(), "::error file=hooks/bad.c,line=4,col=") {
		t.Errorf("status %d, uses %q:\n%s", status, a.uses, &a.log)
	}
	var doc sarifLog
	text, err := os.ReadFile("crpie.sarif")
	must(t, err)
	must(t, json.Unmarshal(text, &doc))
	if d := doc.Runs[0].Tool.Driver; d.Version != "v1.2.3" || len(doc.Runs[0].Results) != 2 {
		t.Errorf("version %q, results %+v", d.Version, doc.Runs[0].Results)
	}
}

// What the inputs say is data to the steps, and a workflow that checks nothing fails.
func TestGitHubActionInputs(t *testing.T) {
	pluginRepository(t)
	must(t, os.Rename("hooks/good.o", "hooks/go od.o"))
	temp := t.TempDir()
	for _, c := range []struct {
		with   map[string]string
		status int
		says   string
		uses   int
	}{
		{map[string]string{"files": "hooks/go*.o"}, 0, "", 2},
		{map[string]string{"files": "hooks/go*.o", "upload": "false"}, 0, "", 1},
		{map[string]string{"files": "none/*.o"}, 2, "::error title=crpie check::no file is named none/*.o", 1},
		{map[string]string{"files": "none.o"}, 2, "::error file=none.o,title=unreadable::open none.o", 2},
		{map[string]string{"files": "$(touch${IFS}done).o `touch${IFS}done`.o"}, 2, "no such file", 2},
		{map[string]string{"files": "hooks/go*.o", "flags": "--machine arm64"}, exitFailed, "PIE008", 2},
		{map[string]string{"files": "hooks/go*.o", "flags": "--nonsense"}, 2, "unknown flag: --nonsense", 1},
	} {
		a, status := runAction(t, temp, c.with)
		if status != c.status || len(a.uses) != c.uses || !strings.Contains(a.log.String(), c.says) {
			t.Errorf("%v: status %d, uses %q:\n%s", c.with, status, a.uses, &a.log)
		}
		if _, err := os.Lstat("done"); err == nil {
			t.Errorf("%v was carried out", c.with)
		}
	}
}

// Each example of docs/ci.md is YAML, and names what there is.
func TestExamplesForCI(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readRoot(t, "docs/ci.md"), -1)
	if len(blocks) != 3 {
		t.Fatalf("docs/ci.md has %d examples", len(blocks))
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				Uses string
				With map[string]string
			}
		}
	}
	parseYAML(t, blocks[0][1], &workflow)
	steps := workflow.Jobs["check"].Steps
	var file actionFile
	parseYAML(t, readRoot(t, "action.yml"), &file)
	for name := range steps[len(steps)-1].With {
		if _, ok := file.Inputs[name]; !ok {
			t.Errorf("the example for GitHub gives %s, which is no input of action.yml", name)
		}
	}
	var pipeline map[string]struct {
		Script    []string
		Artifacts struct{ Reports map[string]string }
	}
	parseYAML(t, blocks[1][1], &pipeline)
	job := pipeline["crpie"]
	pluginRepository(t)
	script := "crpie() { " + testenv.CRPIE(t) + ` "$@"; }` + "\n" + strings.Join(job.Script[1:], "\n")
	out, err := exec.Command("bash", "-ec", script).CombinedOutput()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.ExitCode() != exitFailed || !strings.HasPrefix(job.Script[0], "go install ") {
		t.Errorf("the example for GitLab: %v\n%s", err, out)
	}
	text, err := os.ReadFile(job.Artifacts.Reports["junit"])
	if err != nil || !strings.Contains(string(text), "hooks/bad.c:4") {
		t.Errorf("the example for GitLab: %v\n%s", err, text)
	}
}

// pre-commit installs crpie from what is committed here, and runs its hooks as docs/ci.md has them.
func TestPreCommit(t *testing.T) {
	testenv.NeedTool(t, "pre-commit")
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output() // pre-commit's GOPATH is another
	must(t, err)
	t.Setenv("GOMODCACHE", strings.TrimSpace(string(modules)))
	t.Setenv("PRE_COMMIT_HOME", t.TempDir())
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("GOFLAGS", "-trimpath") // as make build has it: what that compiled is in Go's cache
	head, err := exec.Command("git", "-C", testenv.Root(), "rev-parse", "HEAD").Output()
	must(t, err)
	pluginRepository(t)
	_, example, _ := strings.Cut(readRoot(t, "docs/ci.md"), "```yaml\nrepos:")
	example, _, _ = strings.Cut(example, "```")
	config := strings.NewReplacer("https://github.com/crpie/crpie", testenv.Root(), "main # or a release",
		strings.TrimSpace(string(head)), "hooks/hook.o", "hooks/bad.o").Replace("repos:" + example)
	must(t, os.WriteFile(".pre-commit-config.yaml", []byte(config+"      - id: crpie-check\n"), 0o644))
	for _, c := range []struct {
		args string
		good bool
	}{
		{"crpie-check --files hooks/good.o", true}, {"crpie-check --files hooks/bad.o hooks/good.o", false},
		{"crpie-check-built --files hooks/good.c", false}, {"crpie-check-built --files README.md", true},
	} {
		execute(t, "rm", "-f", "hooks/bad.o")
		execute(t, "make", "-s", "CC=gcc")
		out, err := exec.Command("pre-commit", append([]string{"run"}, strings.Fields(c.args)...)...).CombinedOutput()
		if (err == nil) != c.good ||
			!c.good && !strings.Contains(string(out), "hooks/bad.o: error[PIE201]: undefined symbol `helper`") {
			t.Errorf("pre-commit run %s: %v\n%s", c.args, err, out)
		}
	}
}
