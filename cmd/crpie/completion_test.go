//go:build linux && amd64

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// complete returns what bash offers for the last of the words; readline makes a word of each "=".
func complete(t *testing.T, path string, words ...string) []string {
	t.Helper()
	const script = `source "$0"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
		COMP_POINT=${#COMP_LINE}
		_crpie
		printf '%s\n' "${COMPREPLY[@]}"`
	file := filepath.Join(testenv.Root(), "completions", "crpie.bash")
	cmd := exec.Command("bash", append([]string{"-c", script, file, "crpie"}, words...)...)
	cmd.Dir = t.TempDir() // without files
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("complete %q: %v", words, err)
	}
	return strings.Fields(string(out))
}

func TestBashCompletesRuleCodes(t *testing.T) {
	bin := filepath.Dir(testenv.CRPIE(t))
	for typed, want := range map[string]string{
		"30": "PIE301 PIE302 PIE303 PIE304 PIE305 PIE306 PIE307 PIE308 PIE309", "pie104": "PIE104", "PIE41": "PIE410 PIE411",
		"104": "PIE104", "9": "",
	} {
		if got := strings.Join(complete(t, bin, "explain", typed), " "); got != want {
			t.Errorf("crpie explain %s<TAB>: %q, want %q", typed, got, want)
		}
	}
}

// A value that one shell offers the others offer, behind a blank and behind "=".
func TestBashCompletesTheValuesThatFishKnows(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testenv.Root(), "completions", "crpie.fish"))
	must(t, err)
	line := regexp.MustCompile(`(?m)^complete -c crpie -n '__fish_seen_subcommand_from ([a-z]+)[a-z ]*'.* -l ([a-z-]+) .*-x?a '([a-z0-9:= +-]+)'`)
	all := line.FindAllStringSubmatch(string(page), -1)
	if len(all) < 15 {
		t.Fatalf("crpie.fish has %d flags with values", len(all))
	}
	for _, m := range all {
		command, flag, values := m[1], "--"+m[2], m[3]
		for _, words := range [][]string{{command, flag, ""}, {command, flag, "="}} {
			if got := strings.Join(complete(t, "", words...), " "); got != values {
				t.Errorf("crpie %s<TAB>: %q, want %q", strings.Join(words, " "), got, values)
			}
		}
	}
}
