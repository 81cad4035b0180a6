package blob_test

import (
	"fmt"
	"testing"

	"github.com/crpie/crpie/blob"
)

func TestSelectors(t *testing.T) {
	for text, want := range map[string]string{
		"all": "all 123", "root": "root 1", "pid:2": "pid:2 2", "2": "pid:2 2", "comm:worker": "comm:worker 23",
		"worker": "comm:worker 23", "comm:root": "comm:root ", "a:b": "comm:a:b ", "comm:12": "comm:12 ",
		"":               `selector "" names no task; write root, pid:N, comm:NAME or all`,
		"comm:":          `selector "comm:" names no task; write root, pid:N, comm:NAME or all`,
		"pid:":           `selector "pid:": "" is not a pid`,
		"pid:-1":         `selector "pid:-1": "-1" is not a pid`,
		"0":              `selector "0": "0" is not a pid`,
		"99999999999999": `selector "99999999999999": "99999999999999" is not a pid`,
	} {
		s, err := blob.ParseSelector(text)
		got := s.String() + " "
		for pid, comm := range []string{1: "main", 2: "worker", 3: "worker"} {
			if pid > 0 && s.Picks(uint32(pid), comm, pid == 1) {
				got += fmt.Sprint(pid)
			}
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
