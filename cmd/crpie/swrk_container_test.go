//go:build linux && amd64

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// runc has a container restored by crpie itself, with everything mounted as it was and another identity, and can
// checkpoint it again.
func TestFrontRestoresContainers(t *testing.T) {
	c := newContainer(t)
	images, pidfile := filepath.Join(c.dir, "images"), filepath.Join(c.dir, "pid")
	c.runc("run", "--detach", "--pid-file", pidfile, c.name)
	c.wantID("the-first-of-its-kind")
	before := mountsOf(t, readPid(t, pidfile))
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	c.front("restore-with crpie\npie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") +
		",var=INSTANCE_ID,value=a-clone\n")
	ok, said, log := c.restores(images, "--pid-file", pidfile)
	if !ok || !strings.Contains(log, "crpie: restore-with crpie: restored by crpie itself") {
		t.Fatalf("restored: %v\n%s\n%s", ok, said, log)
	}
	c.wantID("a-clone")
	wantMounts(t, readPid(t, pidfile), before)
	c.runc("checkpoint", "--image-path", filepath.Join(c.dir, "again"), "--work-path", filepath.Join(c.dir, "dump2"),
		c.name)
}
