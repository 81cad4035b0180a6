package stage_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/crpie/crpie/stage"
)

func ExampleParse() {
	s, err := stage.Parse("CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN")
	fmt.Println(s, s == stage.PreSigreturn, err)
	_, err = stage.Parse("PRE_SIGRETURN\n")
	fmt.Println(err)
	// Output:
	// PIE_RST_PRE_SIGRETURN true <nil>
	// stage "PRE_SIGRETURN\n" is not known: want one of PIE_RST_TASK_CREATED, PIE_RST_POST_MEMORY, PIE_RST_POST_FILES, PIE_RST_POST_THREADS, PIE_RST_PRE_CREDS, PIE_RST_PRE_SIGRETURN_THREAD, PIE_RST_PRE_SIGRETURN, PIE_DMP_PRE_DUMP, PIE_DMP_RESUMED
}

// Every stage is found by both of its names, and follows the one before it.
func TestAll(t *testing.T) {
	all := stage.All()
	if len(all) != 7 || all[0] != stage.TaskCreated || all[6] != stage.PreSigreturn {
		t.Fatalf("stages %v", all)
	}
	for i, s := range append(all, stage.Dump()...) {
		for _, name := range []string{s.String(), "CR_PLUGIN_HOOK__" + s.String()} {
			if got, err := stage.Parse(name); got != s || err != nil {
				t.Errorf("%s is %v, %v", name, got, err)
			}
		}
		short := strings.ToLower(strings.ReplaceAll(s.String()[len("PIE_RST_"):], "_", "-"))
		if got, err := stage.ParseShort(short); got != s || err != nil {
			t.Errorf("%s is %v, %v", short, got, err)
		}
		follows := i == 0 || i == len(all) || s == append(all, stage.Dump()...)[i-1]+1
		if !s.Known() || s.Call() != "hook "+s.String() || !follows || s.OfDump() != (i >= len(all)) {
			t.Errorf("stage %d is %v, 0x%x, %q", i, s, uint32(s), s.Call())
		}
	}
}

// Numbers from plugins and logs have a text, whatever they are.
func TestOtherNumbers(t *testing.T) {
	for number, want := range map[stage.Stage]string{
		stage.Init: "init", stage.Exit: "exit", 0: "hook 0x0", stage.PreSigreturn + 1: "hook 0x107",
		stage.PreDump - 1: "hook 0x17f", stage.Resumed + 1: "hook 0x182",
		0xffffffff: "hook 0xffffffff",
	} {
		if number.Known() || number.String() != want || number.Call() != want {
			t.Errorf("0x%x: known %v, %q, %q; want %q", uint32(number), number.Known(), number.String(),
				number.Call(), want)
		}
	}
}
