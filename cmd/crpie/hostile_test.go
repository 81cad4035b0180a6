package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/crpie/crpie/internal/loadertest"
)

// evil is a name of an object, of a section, a symbol, a source file: it would clear the screen, forge a line of
// success, tell GitHub's and Azure's runners something, and turn the rest around.
const evil = "::error::a\x1b[2J\nforged.o: ok\n::warning::b\r##[error]c\u202e\xff"

// evilObjects puts evil.o, which can be a plugin, and bad.o, which cannot, into the working directory; both are full
// of evil names.
func evilObjects(t *testing.T) (good, bad string) {
	t.Helper()
	placeholder := strings.Repeat("E", len(evil))
	source := "#line 1 \"" + placeholder + ".c\"\n" + `#include <crpie/abi.h>
extern int MISSING(void);
__attribute__((section(".text.NAME"))) static int NAME(struct crpie_ctx *ctx) { return USE; }
__attribute__((section("crpie_hooks"), used, aligned(8)))
static struct crpie_hook_record r = {sizeof r, 1, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, 0, NAME};
`
	dir := t.TempDir()
	for name, use := range map[string]string{evil + ".o": "0", "bad-" + evil + ".o": "MISSING() + CALL()"} {
		text := strings.NewReplacer("USE", use, "MISSING", "M"+placeholder[1:], "NAME", placeholder, "CALL",
			"M"+placeholder[1:]).Replace(source)
		data, err := os.ReadFile(loadertest.Compile(t, compiler+" -w", ".c", text))
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.ReplaceAll(data, []byte(placeholder), []byte(evil))
		data = bytes.ReplaceAll(data, []byte("M"+placeholder[1:]), []byte("\x1b"+evil[1:]))
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return evil + ".o", "bad-" + evil + ".o"
}

// evilImages is an image directory and an archive of it with evil names of files, tasks and images.
func evilImages(t *testing.T) (dir, archive string) {
	t.Helper()
	dir, archive = filepath.Join(t.TempDir(), "images"), filepath.Join(t.TempDir(), "archive")
	samples, err := filepath.Glob("../../testdata/images/static/*")
	if err != nil || len(samples) == 0 {
		t.Fatalf("no sample: %v", err)
	}
	files := map[string][]byte{evil: {1}, "pages-1.img": make([]byte, 1<<20)}
	for _, name := range samples {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for path, same := range map[string]string{
			"/srv/v/bin/static": "/a\n::error::\x1b[2J\xff",
			"/srv/v/static/out": "/b\n::error::\x1b[2J\xff", "static": "\n::x\x1b\xff",
		} {
			data = bytes.ReplaceAll(data, []byte(path), []byte(same))
		}
		files[filepath.Base(name)] = data
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		err := os.WriteFile(filepath.Join(dir, name), data, 0o600)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: "checkpoint/" + strings.ToValidUTF8(name, "?"),
				Mode: 0o600, Size: int64(len(data)), Format: tar.FormatPAX})
		}
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, archive
}

// harmless fails if a name has done something in an output.
func harmless(t *testing.T, args []string, output string) {
	t.Helper()
	for line := range strings.SplitSeq(output, "\n") {
		own := regexp.MustCompile(`^::(error|notice) file=`).MatchString(line) && args[0] == "check"
		begins := strings.TrimLeft(line, " \t")
		if !own && strings.HasPrefix(begins, "::") || strings.Contains(line, "##") ||
			strings.HasPrefix(begins, "forged") {
			t.Errorf("crpie %q writes the line %q", args, line)
		}
		for _, r := range strings.ReplaceAll(line, "\t", "") {
			if !strconv.IsPrint(r) || r == utf8.RuneError {
				t.Errorf("crpie %q writes %q in %q", args, r, line)
				break
			}
		}
	}
}

// TestNamesCannotSpeak gives hostile names to every command.
func TestNamesCannotSpeak(t *testing.T) {
	dir, archive := evilImages(t)
	good, bad := evilObjects(t)
	fifo := "fifo" + evil
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"check", "--", good, bad, "none-" + evil, fifo},
		{"check", "-f", "json", "--", good, bad, fifo},
		{"check", "-f", "sarif", "--", good, bad, fifo},
		{"check", "-f", "github", "--", good, bad, fifo},
		{"check", "-f", "junit", "--", good, bad, fifo},
		{"check", "-f", evil, good},
		{"check", "--" + evil},
		{"inspect", good}, {"inspect", "--disasm", good}, {"inspect", "-f", "json", good}, {"inspect", bad},
		{"inspect", fifo},
		{"inspect", "-D", dir}, {"inspect", "-D", dir, "-f", "json"}, {"inspect", "-D", evil},
		{"inspect", "--archive", archive}, {"inspect", "--archive", archive, "-f", "json"},
		{"inspect", "--archive", evil},
		{"inspect", "--archive-limit", evil},
		{"link", "--map", "-", good}, {"link", bad}, {"link", fifo}, {"link", "--defsym", evil, good},
		{"link", "--base", evil, good},
		{"explain", evil}, {evil}, {"help", evil}, {"version", evil},
		{"graft", "-D", dir, "-o", "out", "--pie-plugin", good},
		{"graft", "-D", dir, "-o", "out2", "--pie-plugin", bad},
		{"graft", "--archive", archive, "-o", "out3", "--pie-plugin", good},
		{"graft", "-D", evil, "-o", "x", "--pie-plugin", good},
		{"graft", "--remove", "-D", dir, "-o", "out4"},
		{"graft", "-D", dir, "-o", evil + "/x", "--pie-plugin", good},
		{"graft", "-D", dir, "-o", "x", "--pie-plugin", good + "," + evil},
		{"graft", "-D", dir, "-o", "x", "--task", evil, "--pie-plugin", good},
		{"restore", "--dry-run", "-D", dir}, {"restore", "--dry-run", "-D", dir, "--pie-plugin", bad, "-v4"},
		{"restore", "--dry-run", "-D", evil}, {"restore", "--" + evil},
		{"restore", "-D", dir, "--inherit-fd", evil},
		{"restore", "-D", dir, "-o", evil + "/log"},
	} {
		_, out, complaints := crpie(t, c...)
		harmless(t, c, out)
		harmless(t, c, complaints)
	}
}

// TestNamesSurviveInDocuments reads the documents back: their parsers see a name, not several lines.
func TestNamesSurviveInDocuments(t *testing.T) {
	good, bad := evilObjects(t)
	_, text, _ := crpie(t, "check", "-f", "json", "--", good, bad)
	var doc jsonReport
	if err := json.Unmarshal([]byte(text), &doc); err != nil ||
		doc.Files[0].File != strings.ToValidUTF8(good, "\ufffd") {
		t.Errorf("json: %v\n%s", err, text)
	}
	_, text, _ = crpie(t, "check", "-f", "junit", "--", good, bad)
	var junit junitSuites
	if err := xml.Unmarshal([]byte(text), &junit); err != nil || junit.Tests != 2 ||
		strings.Contains(junit.Suites[0].Cases[1].Failure.Text, "\x1b") {
		t.Errorf("junit: %v\n%s", err, text)
	}
}
