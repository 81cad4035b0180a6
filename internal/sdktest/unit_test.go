package sdktest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

// The flags of CRPIE_TESTFLAGS in plugin.mk.
const sanitize = " -g -fsanitize=address,undefined -fno-sanitize-recover=all "

// unitTest builds a program that begins with <crpie/test.h>.
func unitTest(t *testing.T, command string, sources ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "unit")
	words := append(strings.Fields(command), "-rdynamic", "-I", loadertest.Include(t), "-o", program)
	words = append(words, sources...)
	if out, err := exec.Command(loadertest.Tool(t, words[0]), words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return program
}

// test.h runs a plugin as crpie does, and lets a sanitizer see its mistakes.
func TestUnitTests(t *testing.T) {
	for _, cc := range []string{"gcc -O0 -std=c11 " + warnings + sanitize, "gcc -O2 -std=gnu17 " + warnings + sanitize,
		"clang-19 -O1 -std=c11 " + warnings + sanitize, "g++ -O1 -xc++ -std=c++11 -Wall -Wextra -Werror" + sanitize} {
		t.Run(cc, func(t *testing.T) {
			t.Parallel()
			program := unitTest(t, cc, "testdata/unit.c")
			if out, err := exec.Command(program).CombinedOutput(); err != nil ||
				!strings.Contains(string(out), "checks passed") {
				t.Errorf("%v\n%s", err, out)
			}
			for mistake, says := range map[string]string{"overflow": "heap-buffer-overflow", "vmas": "heap-buffer-overflow",
				"expectation": "unit.c:"} {
				if out, err := exec.Command(program, mistake).CombinedOutput(); err == nil ||
					!strings.Contains(string(out), says) {
					t.Errorf("%s: %v, want %q in\n%s", mistake, err, says, out)
				}
			}
		})
	}
}

// A plugin that is no C is an object that the test is linked with.
func TestUnitTestOfAnObject(t *testing.T) {
	t.Parallel()
	hello := build(t, "gcc -O2", glob(t, "plugin-sdk/examples/hello.S")[0])
	test := filepath.Join(t.TempDir(), "hello_test.c")
	write(t, test, `#include <crpie/test.h>
int main(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY) == 0);
	CRPIE_EXPECT(crpie_test_logged(&t, "info: hello from assembly"));
	crpie_test_end(&t);
	return crpie_test_result();
}
`)
	program := unitTest(t, "gcc"+sanitize, test, hello)
	if out, err := exec.Command(program).CombinedOutput(); err != nil || !strings.Contains(string(out), "2 of 2") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The examples' own test runs from the source tree.
func TestExamplesPassTheirUnitTests(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(loadertest.Tool(t, "make"), "-s", "test", "CC=gcc")
	cmd.Dir = filepath.Join(root(t), "plugin-sdk", "examples")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "17 of 17 checks passed") {
		t.Errorf("%v\n%s", err, out)
	}
}
