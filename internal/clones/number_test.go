package clones

import "testing"

func TestNumbered(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "%n": "7", "a%n.b%n": "a7.b7", "%%n": "%n", "%%%n": "%7", "50%": "50%",
		"%d": "%d",
		"%%": "%", "%N": "%N",
	} {
		if got := Numbered(text, 7); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{"%n": true, "a%%n": false, "50%": false, "": false} {
		if HasNumber(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
