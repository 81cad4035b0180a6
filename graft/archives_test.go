package graft

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Archives of a pod: all of them there and back, or none, with the problems of each.
func TestArchives(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	place := func(name string, data []byte) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	one, two := sample(t, "static"), sample(t, "glibc")
	a, b := place("a.tar", checkpointTar(t, one)), place("b.tar", checkpointTar(t, two))
	plans, err := Archives(t.Context(), []string{a, b}, at("out"), options(t))
	if err != nil || len(plans) != 2 || plans[1].Provenance.Tasks[0].Pid != 18845 {
		t.Fatalf("%v, %d plans", err, len(plans))
	}
	grafted := []string{at("out/a.tar"), at("out/b.tar")}
	if err := RemoveArchives(t.Context(), grafted, at("back"), Limits{}); err != nil {
		t.Fatal(err)
	}
	compareImages(t, at("back/a.tar"), one)
	compareImages(t, at("back/b.tar"), two)

	bad := place("bad.tar", []byte("hello"))
	_, err = Archives(t.Context(), []string{bad, a, grafted[1]}, at("none"), options(t))
	if text := strings.Split(err.Error(), "\n"); len(text) < 2 ||
		!strings.Contains(err.Error(), "archive "+bad+": ") ||
		!strings.Contains(err.Error(), "archive "+grafted[1]+": cannot graft: "+ProvenanceFile) {
		t.Errorf("got %v", err)
	}
	same := place("other/a.tar", checkpointTar(t, one))
	_, err = Archives(t.Context(), []string{a, same}, at("none"), options(t))
	if want := "archives " + a + " and " + same +
		" have the same name: rename one, or graft them one by one"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Archives(t.Context(), []string{a, b}, at("out"), options(t)); err == nil ||
		!strings.Contains(err.Error(), "exists already") {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(at(".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Lstat(at("none")); err == nil {
		t.Error("something was written")
	}
}
