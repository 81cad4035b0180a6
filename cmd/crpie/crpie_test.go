package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/loader"
)

const compiler = "gcc -g -O1 -fPIC -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables"

const goodSource = `#include <crpie/abi.h>
static int n = 3;
static int hook(struct crpie_ctx *ctx) { return n++; }
__attribute__((section("crpie_hooks"), used, aligned(8)))
static struct crpie_hook_record r = {sizeof r, 1, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, 0, hook};
`

const badSource = `extern int helper(int);
int hook(int x)
{
	return helper(x) + 1;
}
`

// crpie runs the tool in a directory with good.o and bad.o.
func crpie(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(args, strings.NewReader(""), &out, &err)
	return status, out.String(), err.String()
}

// objects compiles good.o and bad.o and makes their directory the working one.
func objects(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for name, source := range map[string]string{"good.o": goodSource, "bad.o": badSource} {
		if err := os.Rename(loadertest.Compile(t, compiler, ".c", source),
			filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// TestStandardInput gives an object to the commands that look at one.
func TestStandardInput(t *testing.T) {
	objects(t)
	for args, want := range map[string]string{
		"check -":   "-: ok: plugin stdin for EM_X86_64, 1 hook\n",
		"inspect -": "plugin stdin for EM_X86_64, from stdin: 12288 bytes at 0x10000000 if alone\n",
	} {
		f, err := os.Open("good.o")
		if err != nil {
			t.Fatal(err)
		}
		var out, complaints bytes.Buffer
		status := run(strings.Fields(args), f, &out, &complaints)
		if status != 0 || !strings.HasPrefix(out.String(), want) || f.Close() != nil {
			t.Errorf("crpie %s: status %d, %s%s", args, status, &out, &complaints)
		}
	}
}

func TestExitStatuses(t *testing.T) {
	objects(t)
	if err := syscall.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		stderr string
	}{
		{"check good.o", 0, ""},
		{"check good.o bad.o", 1, ""},
		{"check missing.o bad.o", 2, "crpie: open missing.o: no such file or directory\n"},
		{"check .", 2, "crpie: open .: it is a directory, not a regular file\n"},
		{"check fifo", 2, "crpie: open fifo: it is a FIFO, not a regular file\n"},
		{"inspect fifo", 1, "crpie: open fifo: it is a FIFO, not a regular file\n"},
		{"link fifo", 1, "crpie: open fifo: it is a FIFO, not a regular file\n"},
		{"check -", 1, ""},
		{"check - good.o", 2, "crpie: standard input (-) is checked alone\nusage: crpie " + checkUsage + "\n"},
		{"check", 2, "crpie: no file given (what checks the kernel is criu check)\nusage: crpie " +
			checkUsage + "\n"},
		{"check --format tap good.o", 2, "crpie: unknown format \"tap\"\nusage: crpie " + checkUsage + "\n"},
		{"check --machine arm64 good.o", 1, ""},
		{"frobnicate", 2, "crpie: unknown command \"frobnicate\"\nTry: crpie help\n"},
		{"explain PIE999", 2, "crpie: no rule \"PIE999\"\nTry: crpie explain\n"},
		{"explain PIE201", 0, ""},
		{"explain 104 pie201", 0, ""},
		{"version", 0, ""},
		{"help", 0, ""},
		{"link --base 0x10 good.o", 1,
			"crpie: place image at 0x10: not a multiple of 4096, or no room for 12288 bytes\n"},
		{"link --defsym x good.o", 2, "crpie: --defsym \"x\" is not NAME=ADDR\nusage: crpie " + linkUsage +
			"\n"},
	} {
		status, _, stderr := crpie(t, strings.Fields(c.args)...)
		if status != c.status || stderr != c.stderr {
			t.Errorf("crpie %s: status %d, stderr %q; want %d, %q", c.args, status, stderr, c.status,
				c.stderr)
		}
	}
}

func TestCheckText(t *testing.T) {
	objects(t)
	_, out, _ := crpie(t, "check", "bad.o", "good.o")
	for _, want := range []string{
		"bad.o: error[PIE201]: undefined symbol `helper`\n  at ",
		"plugin.c:4 (hook+0x", // the source line, from DWARF
		"  fix: define it in the plugin, or add the object that defines it: ld -r -o plugin.o a.o b.o\nbad.o: error[PIE401]: no hook is registered",
		"\nbad.o: 2 errors\n",
		"good.o: ok: plugin good for EM_X86_64, 1 hook\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestExcerptPointsAtTheSymbol(t *testing.T) {
	objects(t)
	if err := os.WriteFile("plugin.c", []byte(badSource), 0o644); err != nil {
		t.Fatal(err)
	}
	c := checkOne("bad.o", nil, loader.Options{Core: true})
	c.found[0].Places[0].File = "plugin.c"
	var b strings.Builder
	painter{terminal: true}.violation(&b, "bad.o", c.found[0])
	want := "  4 | \treturn helper(x) + 1;\n    | \t       \x1b[1;31m^^^^^^\x1b[0m\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}

func TestMachineReadableReports(t *testing.T) {
	objects(t)
	_, text, _ := crpie(t, "check", "-f", "json", "good.o", "bad.o")
	var doc jsonReport
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Files) != 2 || !doc.Files[0].OK ||
		doc.Files[1].Errors[0].Code != "PIE201" {
		t.Errorf("json: %v\n%s", err, text)
	}
	_, text, _ = crpie(t, "check", "-f", "sarif", "--core", "good.o", "bad.o")
	var sarif sarifLog
	if err := json.Unmarshal([]byte(text), &sarif); err != nil || len(sarif.Runs) != 1 ||
		len(sarif.Runs[0].Results) != 1 {
		t.Fatalf("sarif: %v\n%s", err, text)
	}
	r := sarif.Runs[0].Results[0]
	at := r.Locations[0].PhysicalLocation
	if sarif.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.RuleID != "PIE201" ||
		!strings.HasSuffix(at.ArtifactLocation.URI, "plugin.c") || at.Region.StartLine != 4 {
		t.Errorf("sarif result is %+v", r)
	}
	_, text, _ = crpie(t, "check", "-f", "junit", "good.o", "bad.o", "missing.o")
	var junit junitSuites
	if err := xml.Unmarshal([]byte(text), &junit); err != nil || junit.Tests != 3 || junit.Failures != 1 ||
		junit.Errors != 1 {
		t.Errorf("junit: %v\n%s", err, text)
	}
	_, text, _ = crpie(t, "check", "-f", "github", "good.o", "bad.o")
	if !strings.HasPrefix(text, "::error file=") || !strings.Contains(text, "plugin.c,line=4,col=") ||
		!strings.Contains(text, ",title=PIE201 undefined symbol::bad.o: PIE201 undefined symbol `helper`") {
		t.Errorf("github:\n%s", text)
	}
}

func TestInspect(t *testing.T) {
	objects(t)
	_, out, _ := crpie(t, "inspect", "--disasm", "good.o")
	for _, want := range []string{
		"plugin good for EM_X86_64, from good.o: 12288 bytes at 0x10000000 if alone\n",
		"PIE_RST_PRE_SIGRETURN  0         0x10000000  hook\n",
		"R_X86_64_PC32",
		"hook:\n  10000000:  8b 05",
		"n,%eax\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	_, out, _ = crpie(t, "inspect", "-f", "json", "good.o")
	var v view
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Plugin != "good" || v.Hooks[0].Function != "hook" ||
		len(v.Sections) == 0 {
		t.Errorf("json: %v\n%s", err, out)
	}
}

func TestLinkWritesImageAndMap(t *testing.T) {
	objects(t)
	status, out, stderr := crpie(t, "link", "--output", "image", "--base", "0x20000000", "--defsym",
		"helper=0x20000100", "--map", "-", "bad.o")
	image, err := os.ReadFile("image")
	// call helper at offset 4 of hook: E8 and S + A - P = 0x20000100 - 4 - 0x20000005.
	if want := "\xe8\xf7\x00\x00\x00"; status != 0 || err != nil || !bytes.Contains(image[:32], []byte(want)) {
		t.Errorf("status %d, %v, %s; image begins with % x", status, err, stderr, image[:min(32, len(image))])
	}
	if !strings.Contains(out, "0x0000000020000000 ") || !strings.Contains(out, " sym hook\n") ||
		!strings.Contains(out, " r-x .text [") {
		t.Errorf("map:\n%s", out)
	}
}

// TestStartIsLight: what packages initialise before main costs every command its time, and so does the page of code
// that a package's initialisation is on, however little it does. No package of this module has one: tables are data, or
// made when they are used. What others allocate is bounded.
func TestStartIsLight(t *testing.T) {
	bin := testenv.CRPIE(t)
	if n := interfacePairs(t, bin); n > maxPairs {
		t.Errorf("%d types become interfaces with methods, more than %d: go tool nm lists them, as go:itab", n, maxPairs)
	}
	cmd := exec.Command(bin, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	trace, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, trace)
	}
	allowed := map[string]int{ // bytes; others 2000
		"github.com/klauspost/compress/internal/snapref": 10 << 10,
		"github.com/ianlancetaylor/demangle":             13 << 10,
		"golang.org/x/arch/arm64/arm64asm":               8 << 10,
		"golang.org/x/arch/x86/x86asm":                   4 << 10,
		"github.com/mdlayher/netlink":                    4 << 10,
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^init (\S+) .* (\d+) bytes`).FindAllStringSubmatch(string(trace),
		-1) {
		seen++
		switch n, err := strconv.Atoi(m[2]); {
		case m[1] == "main" || strings.HasPrefix(m[1], "github.com/crpie/crpie/"):
			t.Errorf("%s initialises something before main", m[1])
		case m[1] == "regexp/syntax": // and with it the tables of package unicode
			t.Errorf("%s is part of the program", m[1])
		case err != nil || strings.Contains(m[1], ".") && n > max(2000, allowed[m[1]]):
			t.Errorf("%s allocates %s bytes before main", m[1], m[2])
		}
	}
	if seen < 10 || seen > maxInits {
		t.Errorf("%d packages, want at most %d, in\n%s", seen, maxInits, trace)
	}
}

// What a start may have, with a little room. The runtime enters the pairs of a type and an interface with methods into
// a table before main, which takes a tenth of a millisecond for each 300; and each package that initialises something
// has a page of code of its own.
const (
	maxPairs = 475
	maxInits = 62
)

// interfacePairs counts them: a section has their addresses.
func interfacePairs(t *testing.T, bin string) int {
	t.Helper()
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	links := f.Section(".itablink")
	if links == nil || links.Size == 0 {
		t.Fatal("no section .itablink")
	}
	return int(links.Size / 8)
}

// TestLinkReplacesItsOutput: the new file is complete when it has its name; a link stays one, and what is no file is
// written to.
func TestLinkReplacesItsOutput(t *testing.T) {
	objects(t)
	if err := os.WriteFile("old", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Link("old", "second name"), os.Symlink("target", "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new", "old", "link", "/dev/null"} {
		if status, _, stderr := crpie(t, "link", "-o", name, "good.o"); status != 0 {
			t.Errorf("%s: status %d, %s", name, status, stderr)
		}
	}
	want, err := os.ReadFile("new")
	if err != nil || len(want) == 0 {
		t.Fatalf("%d bytes, %v", len(want), err)
	}
	for name, text := range map[string]string{"old": string(want), "target": string(want), "second name": "old"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != text {
			t.Errorf("%s has %d bytes, %v", name, len(got), err)
		}
	}
	if status, _, stderr := crpie(t, "link", "-o", "none/x", "good.o"); status != 1 ||
		stderr != "crpie: open none/x: no such file or directory\n" {
		t.Errorf("status %d, %s", status, stderr)
	}
	if left, _ := filepath.Glob(".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDisassemblyTellsDataFromCode(t *testing.T) {
	source := ".text\nf: ldr x0, 1f\nret\n1: .quad 0x1122334455667788\ng: ret\n.section .note.GNU-stack,\"\",@progbits\n"
	file := loadertest.Compile(t, "aarch64-linux-gnu-gcc", ".s", source)
	_, out, _ := crpie(t, "inspect", "--core", "--disasm", file)
	want := "f:\n  10000000:  40 00 00 58              ldr x0, .+0x8\n  10000004:  c0 03 5f d6              ret\n" +
		"  10000008:  88 77 66 55              .data\n  1000000c:  44 33 22 11              .data\n" +
		"g:\n  10000010:  c0 03 5f d6              ret\n"
	if !strings.HasSuffix(out, want) {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// The part of JUnit's XML that CI systems read.
type (
	junitSuites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Suites   []struct {
			Tests    int         `xml:"tests,attr"`
			Failures int         `xml:"failures,attr"`
			Errors   int         `xml:"errors,attr"`
			Cases    []junitTest `xml:"testcase"`
		} `xml:"testsuite"`
	}
	junitTest struct {
		Name    string      `xml:"name,attr"`
		Failure *junitFault `xml:"failure"`
		Error   *junitFault `xml:"error"`
	}
	junitFault struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// Text is escaped as package encoding/xml does it.
func TestXMLText(t *testing.T) {
	for _, s := range []string{"", "plain", `<a b="c" d='e'>&amp;</a>`, "tab\tline\nreturn\r", "nul\x00 bell\a del\x7f",
		"ä\u2028\ufffd\ufffe\uffff\U0010ffff", "broken\xff\xc3 \xed\xa0\x80"} {
		var want strings.Builder
		if err := xml.EscapeText(&want, []byte(s)); err != nil {
			t.Fatal(err)
		}
		if got := xmlText(s); got != want.String() {
			t.Errorf("%q: %q, want %q", s, got, want.String())
		}
	}
}
