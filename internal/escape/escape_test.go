package escape

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/several"
)

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"plain name, à, 日本, 100%":  "plain name, à, 日本, 100%",
		"std::vector<int>::at":     "std::vector<int>::at",
		"C:\\dir\\n":               "C:\\dir\\n",
		"\x1b[2Jgone\a":            `\x1b[2Jgone\a`,
		"a\nb.o: ok\r\tx":          `a\nb.o: ok\r\tx`,
		"\u202egnp.exe\u2066":      `\u202egnp.exe\u2066`,
		"\xff\xc3":                 `\xff\xc3`,
		"\ufffd":                   "\ufffd",
		"::error::x":               `\x3a:error::x`,
		"  ::warning::":            `  \x3a:warning::`,
		":":                        `\x3a`,
		":/a/b":                    ":/a/b",
		"a ##[error]x":             `a #\x23[error]x`,
		"####":                     `#\x23#\x23`,
		"\u0085\u2028\u00a0\ufeff": `\u0085\u2028\u00a0\ufeff`,
		"'\"":                      "'\"",
		"\U000e0041":               `\U000e0041`,
	} {
		if got := Name(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if again := Name(want); again != want && !strings.Contains(in, "\ufffd") {
			t.Errorf("%q becomes %q the second time", want, again)
		}
	}
}

func TestText(t *testing.T) {
	in := "one\n\ttwo\x1b\n::three\n  ::four ##[x]\r\n"
	want := "one\n\ttwo\\x1b\n\\x3a:three\n  \\x3a:four #\\x23[x]\\r\n"
	if got := Text(in); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestError(t *testing.T) {
	evil := "a\n::error::b"
	path := fmt.Errorf("images %w", &fs.PathError{Op: "open", Path: evil, Err: fs.ErrNotExist})
	link := &os.LinkError{Op: "link", Old: evil, New: "c\x1b", Err: fs.ErrExist}
	got := Error(errors.Join(several.Join(path), link))
	want := "images open a\\n::error::b: file does not exist\nlink a\\n::error::b c\\x1b: file already exists"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	in := map[string]string{"name": "a\u202e\U000e0041##[x]\x1b\x85", "plain": "日本"}
	doc, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	safe := JSON(doc)
	if !plain(string(safe)) || strings.Contains(string(safe), "##") {
		t.Errorf("%s", safe)
	}
	var before, after map[string]string
	if json.Unmarshal(doc, &before) != nil || json.Unmarshal(safe, &after) != nil ||
		before["name"] != after["name"] || after["plain"] != "日本" {
		t.Errorf("%q became %q", before, after)
	}
}
