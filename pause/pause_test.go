package pause

import (
	"slices"
	"testing"

	"github.com/crpie/crpie/stage"
)

// A stage is named in each way that people name it.
func TestParse(t *testing.T) {
	for text, want := range map[string]Point{
		"PRE_SIGRETURN":          {stage.PreSigreturn, ""},
		"pre-sigreturn:hello":    {stage.PreSigreturn, "hello"},
		"PIE_RST_POST_FILES:a:b": {stage.PostFiles, "a:b"},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	if _, err := Parse(":hello"); err == nil {
		t.Error("no stage is one")
	}
}

// gdb takes a word with quotes as one.
func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{".text": ".text", "/a b.o": `"/a b.o"`, `a"\b`: `"a\"\\b"`} {
		if got := quoted(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}

// gdb reads files of the process that it looks at, but runs no scripts that lie there.
func TestCommand(t *testing.T) {
	want := []string{"gdb", "-iex", "set confirm off", "-iex", "set architecture i386:x86-64",
		"-iex", "set auto-load off", "-iex", "set sysroot /proc/7/root", "-ex", "target remote /s"}
	if got := Command(nil, nil, 7, "/s"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
