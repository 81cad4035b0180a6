//go:build linux && amd64

package host

import (
	"testing"
)

func TestTableAddress(t *testing.T) {
	for field, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000000000000000000001000000:0035": "[::1]:53",
		"0000000000000000FFFF00000100007F:0050": "[::ffff:127.0.0.1]:80",
	} {
		if at, ok := tableAddress(field); !ok || at.String() != want {
			t.Errorf("%s: %v, %v, want %s", field, at, ok, want)
		}
	}
	for _, field := range []string{"local_address", "", "0100007F", "01:0050", "0100007F:10000"} {
		if at, ok := tableAddress(field); ok {
			t.Errorf("%q: %v", field, at)
		}
	}
}
