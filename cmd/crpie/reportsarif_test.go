//go:build linux && amd64

package main

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/loader"
)

// checkoutOfPlugins makes a repository with bad plugins in hooks/, one of them with names of sources as before DWARF 5,
// and makes hooks/ the working directory.
func checkoutOfPlugins(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	hooks := filepath.Join(root, "hooks")
	must(t, os.Mkdir(filepath.Join(root, ".git"), 0o755))
	must(t, os.Mkdir(hooks, 0o755))
	t.Chdir(hooks)
	must(t, os.WriteFile("bad 1%.c", []byte(badSource), 0o644))
	for _, dwarf := range []string{"4", "5"} {
		args := append(strings.Fields(compiler)[1:], "-gdwarf-"+dwarf, "-c", "bad 1%.c", "-o", "bad"+dwarf+".o")
		execute(t, "gcc", args...)
	}
	return root
}

// sarifOf runs crpie check and returns its only run.
func sarifOf(t *testing.T, args ...string) (int, sarifRun) {
	t.Helper()
	status, text, _ := crpie(t, append([]string{"check", "-f", "sarif"}, args...)...)
	var doc sarifLog
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Runs) != 1 {
		t.Fatalf("%v\n%s", err, text)
	}
	return status, doc.Runs[0]
}

// places are the URIs of all results, each once.
func places(run sarifRun) (all []string) {
	for _, r := range run.Results {
		for _, l := range r.Locations {
			all = append(all, l.PhysicalLocation.ArtifactLocation.Base+" "+l.PhysicalLocation.ArtifactLocation.URI)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Reports for services name files as the repository has them, from wherever crpie was started.
func TestReportsNameFilesBelowTheSourceRoot(t *testing.T) {
	root := checkoutOfPlugins(t)
	want := []string{"%SRCROOT% hooks/bad%201%25.c", "%SRCROOT% hooks/bad4.o", "%SRCROOT% hooks/bad5.o"}
	_, run := sarifOf(t, "bad4.o", filepath.Join(root, "hooks", "bad5.o"))
	if got := places(run); !slices.Equal(got, want) {
		t.Errorf("in hooks/: %q, want %q", got, want)
	}
	t.Chdir(root)
	if _, run = sarifOf(t, "hooks/bad4.o", "./hooks/bad5.o"); !slices.Equal(places(run), want) {
		t.Errorf("in the root: %q, want %q", places(run), want)
	}
	for _, format := range []string{"github", "junit"} {
		_, text, _ := crpie(t, "check", "-f", format, "hooks/bad4.o", filepath.Join(root, "hooks", "bad5.o"))
		if strings.Contains(text, root) || strings.Count(text, "hooks/bad 1%") < 2 {
			t.Errorf("%s:\n%s", format, text)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(root, link))
	_, run = sarifOf(t, "--source-root", link, "hooks/bad4.o", link+"/hooks/bad5.o")
	if !slices.Equal(places(run), want) {
		t.Errorf("behind a symbolic link: %q, want %q", places(run), want)
	}
	outside := t.TempDir()
	want = []string{" file://" + root + "/hooks/bad%201%25.c", " file://" + root + "/hooks/bad5.o"}
	if _, run = sarifOf(t, "--source-root", outside, "hooks/bad5.o"); !slices.Equal(places(run), want) {
		t.Errorf("outside: %q, want %q", places(run), want)
	}
	status, _, stderr := crpie(t, "check", "-f", "sarif", "--source-root", "none", "hooks/bad5.o")
	if status != exitFailed || !strings.HasPrefix(stderr, "crpie: source root: ") {
		t.Errorf("no source root: status %d, %s", status, stderr)
	}
}

// A file that could not be read is no result; a service that saw none would think that all is well.
func TestReportsTellOfUnreadableFiles(t *testing.T) {
	checkoutOfPlugins(t)
	status, run := sarifOf(t, "none.o", "bad5.o", ".")
	one := run.Invocations[0]
	if status != exitUsage || one.Successful || len(one.Notifications) != 2 ||
		one.Notifications[0].Message.Text != "open none.o: no such file or directory" ||
		one.Notifications[0].Locations[0].PhysicalLocation.ArtifactLocation.URI != "hooks/none.o" {
		t.Errorf("status %d, %+v", status, one)
	}
	if status, run = sarifOf(t, "bad5.o"); status != exitFailed || !run.Invocations[0].Successful {
		t.Errorf("status %d, %+v", status, run.Invocations)
	}
	if status, run = sarifOf(t, "-"); status != exitFailed || len(run.Results) != 1 || run.Results[0].Locations != nil {
		t.Errorf("standard input: status %d, %+v", status, run.Results)
	}
	if _, text, _ := crpie(t, "check", "-f", "github", "none.o"); text !=
		"::error file=hooks/none.o,title=unreadable::open none.o: no such file or directory\n" {
		t.Errorf("github: %s", text)
	}
}

// What the validator of SARIF's authors wants, with its rules for GitHub: scripts/validate-sarif runs it.
func TestSARIFDescribesEveryRule(t *testing.T) {
	checkoutOfPlugins(t)
	_, run := sarifOf(t, "bad5.o")
	if d := run.Tool.Driver; d.Version == "" || len(d.Rules) != len(loader.Rules()) {
		t.Errorf("version %q, %d rules", d.Version, len(d.Rules))
	}
	for _, r := range run.Tool.Driver.Rules {
		short, full := r.ShortDescription.Text, r.FullDescription.Text
		if !strings.HasSuffix(short, ".") || len(full) < 20 || strings.Contains(full, "\n") || r.Help.Markdown == "" ||
			strings.HasPrefix(r.Help.Markdown, r.ID) || r.Name == "" || 'a' <= r.Name[0] {
			t.Errorf("%+v", r)
		}
	}
	for _, r := range run.Results {
		for _, l := range r.Locations {
			at := l.PhysicalLocation
			if at.Region.StartLine < 1 || strings.HasPrefix(at.ArtifactLocation.URI, "/") {
				t.Errorf("%+v", at)
			}
		}
	}
}

// Elements and attributes that the schema of Jenkins (junit-10.xsd) knows; all of those that are here it also demands.
func TestJUnitHasWhatTheSchemaKnows(t *testing.T) {
	checkoutOfPlugins(t)
	_, text, _ := crpie(t, "check", "-f", "junit", "--core", "bad4.o", "none.o")
	known := map[string]string{
		"testsuites": "tests failures errors", "testsuite": "name tests failures errors", "testcase": "name classname",
		"failure": "message type", "error": "message type", "system-out": "",
	}
	d, seen := xml.NewDecoder(strings.NewReader(text)), 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		must(t, err)
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		seen++
		var names []string
		for _, a := range start.Attr {
			names = append(names, a.Name.Local)
		}
		if want, ok := known[start.Name.Local]; !ok || strings.Join(names, " ") != want {
			t.Errorf("<%s> has attributes %q, want %q", start.Name.Local, names, want)
		}
	}
	if seen != 6 {
		t.Errorf("%d elements:\n%s", seen, text)
	}
}
