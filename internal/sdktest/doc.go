// Package sdktest tests the plugin SDK, which is C and holds no Go: its headers with every compiler, its code in an
// ordinary program under sanitizers. Nothing but tests lives here.
package sdktest
