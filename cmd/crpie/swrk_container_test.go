//go:build linux && amd64

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// runc has a container restored by crpie itself, with everything mounted as it was and another identity, and can
// checkpoint it again.
func TestFrontRestoresContainers(t *testing.T) {
	for name, change := range map[string]func(config map[string]any){
		"default": func(map[string]any) {}, "cgroup namespace": inNamespace("cgroup"),
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t)
			c.change(change)
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
			c.runc("checkpoint", "--image-path", filepath.Join(c.dir, "again"), "--work-path",
				filepath.Join(c.dir, "dump2"), c.name)
		})
	}
}

// A hook that fails at any stage is a restore that fails for runc as well: nothing is left.
func TestFrontUndoesContainers(t *testing.T) {
	c, images := checkpointed(t)
	for _, stage := range stageOrder {
		for how, want := range map[string]string{
			"error": "returned -5 (EIO)", "null": "crashed with SIGSEGV", "exit": "called exit_group(7)",
		} {
			t.Run(stage+"/"+how, func(t *testing.T) {
				c := *c
				c.t = t
				c.front(fmt.Sprintf("restore-with crpie\npie-plugin %s,stage=%s,how=%s\n",
					testenv.Plugin(t, "testdata/plugins/fail.c"), stage, how))
				ok, said, log := c.restores(images)
				if ok || !strings.Contains(log, "hook PIE_RST_"+stage+", thread 1: ") || !strings.Contains(log, want) ||
					!strings.Contains(said, "criu failed: type ") {
					t.Errorf("restored: %v, want %q\n%s\n%s", ok, want, said, log)
				}
				c.wantNothing()
			})
		}
	}
}
