//go:build linux && amd64

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/internal/testenv"
)

const secret = "xyzzy,plugh"

// crpie check lists what a plugin declares, and judges what it is given as a restore does.
func TestCheckJudgesParameters(t *testing.T) {
	newID := testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
	tellApp := testenv.Plugin(t, "plugin-sdk/examples/tell-app.c")
	greet := loadertest.Compile(t, compiler, ".c", goodSource)
	for _, c := range []struct {
		arg    string
		status int
		want   []string
	}{
		{newID, exitOK, []string{
			"FILE: ok: plugin new-id for EM_X86_64, 1 hook, parameters var=TEXT [value=TEXT] [format=uuid|hex] [missing=ok]"}},
		{tellApp, exitOK, []string{"FILE: ok: plugin tell-app for EM_X86_64, 1 hook, parameters " +
			"{symbol=TEXT|addr=N} [size=1|2|4|8] [value=N] [mode=set|add]"}},
		{newID + ",var=ID,select=root", exitOK, []string{"FILE: ok: plugin new-id"}},
		{greet + ",what=ever", exitOK, []string{"FILE: ok: plugin plugin for EM_X86_64, 1 hook"}},
		{newID + ",vaule=x,format=hx", exitFailed, []string{
			`FILE: error[PIE408]: plugin new-id has no parameter "vaule": did you mean value?`,
			`FILE: error[PIE408]: plugin new-id: parameter format="hx" is not known: did you mean hex?`,
			"FILE: error[PIE408]: plugin new-id: parameter var is missing: name of the environment variable",
			"FILE: 3 errors"}},
		{tellApp + ",symbol=a,addr=1", exitFailed, []string{
			"FILE: error[PIE408]: plugin tell-app: parameters symbol and addr exclude each other",
			"FILE: 1 error"}},
		{newID + ",select=pid:x", exitUsage, []string{
			`crpie: --pie-plugin FILE,select=pid:x: selector "pid:x": "x" is not a pid`}},
	} {
		file, _, _ := strings.Cut(c.arg, ",")
		status, out, stderr := crpie(t, "check", c.arg)
		lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(out+stderr, file, "FILE"), "\n"), "\n")
		if status != c.status || !slices.EqualFunc(lines, c.want, strings.HasPrefix) {
			t.Errorf("%s: status %d\n%s\nwant %d\n%s", c.arg, status, strings.Join(lines, "\n"), c.status,
				strings.Join(c.want, "\n"))
		}
	}
}

// A file whose name has a comma is that file.
func TestCheckFindsFilesWithCommas(t *testing.T) {
	objects(t)
	if err := os.Rename("good.o", "good,x=1.o"); err != nil {
		t.Fatal(err)
	}
	if status, out, stderr := crpie(t, "check", "good,x=1.o"); status != exitOK ||
		!strings.HasPrefix(out, "good,x=1.o: ok: ") {
		t.Errorf("status %d, %s%s", status, out, stderr)
	}
}

// The JSON document has the declarations, and what breaks them.
func TestCheckJSONHasParameters(t *testing.T) {
	newID := testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
	_, out, _ := crpie(t, "check", "-f", "json", newID, newID+",format=x")
	var doc jsonReport
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Files) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	f := doc.Files[0]
	if !f.OK || len(f.Params) != 4 || f.Params[0].Name != "var" || !f.Params[0].Required ||
		f.Params[2].Kind != "enum" || f.AnyParam {
		t.Errorf("parameters %+v", f)
	}
	if f = doc.Files[1]; f.OK || len(f.Errors) != 2 || f.Errors[0].Code != "PIE408" {
		t.Errorf("errors %+v", f)
	}
}

// A value that is read from elsewhere reaches the plugin and nothing that crpie writes, but for the images of a graft.
func TestValuesFromElsewhereAreNotShown(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := testenv.Plugin(t, "testdata/plugins/secret.c")
	im := testenv.Start(t, "static").Dump(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CRPIE_TEST_TOKEN", secret)
	said := ""
	for _, source := range []string{"@" + file, "@env:CRPIE_TEST_TOKEN"} {
		spec := []string{"--pie-plugin", plugin + ",token=" + source}
		for _, format := range []string{"text", "json"} {
			_, plan := tool(t, im, append(
				[]string{"restore", "--dry-run", "-f", format, "-v4", "-D", im.Dir},
				spec...)...)
			said += plan
		}
		p, log := restore(t, im, append(spec, "-v4")...)
		p.MustPass(t)
		grafted := graftOnto(t, im, spec...)
		_, list := told(t, "inspect", "-D", grafted.Dir)
		provenance, err := os.ReadFile(filepath.Join(grafted.Dir, "crpie-graft.json"))
		if err != nil || !strings.Contains(list, "token") {
			t.Errorf("%v\n%s", err, list)
		}
		said += log + list + string(provenance)
		grafted.RestoreCRIU(t).MustPass(t)
		status, refusal := tool(t, im, "restore", "-v4", "-D", im.Dir, "--pie-plugin",
			plugin+",token="+source+",count="+source)
		if want := "plugin secret: parameter count=" + source + " is not a number\n"; status == 0 ||
			!strings.Contains(refusal, want) {
			t.Errorf("status %d, %s\nwant %s", status, refusal, want)
		}
		said += refusal
	}
	if strings.Contains(said, "xyzzy") || !strings.Contains(said, "token=...") {
		t.Errorf("the value was shown:\n%s", said)
	}
}
