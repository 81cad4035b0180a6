package sys

import "testing"

func TestIsMount(t *testing.T) {
	for path, want := range map[string]bool{"/proc": true, "/proc/self": false, "/proc/self/status": false, t.TempDir(): false} {
		if got := IsMount(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
