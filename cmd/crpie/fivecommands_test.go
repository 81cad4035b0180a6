//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// The commands of docs/containers.md, as they stand there, lead from a machine with podman, criu, Go and a C compiler
// to a container with another identity.
func TestFiveCommands(t *testing.T) {
	testenv.NeedTool(t, "podman")
	commands := fiveCommands(t)
	n, c := newNode(t), newContainer(t)
	n.preparePodman()
	const id = `$(cat $(podman mount %s)/id 2>/dev/null)`
	script := strings.Join([]string{
		"set -e",
		"trap 'podman rm --all --force --time 0' EXIT",
		"rm -r /usr/local/bin/crpie /usr/local/lib/crpie",
		"cd '" + testenv.Root() + "'",
		commands[0],
		"cd '" + c.dir + "'",
		"tar -C rootfs -c . | podman import --change 'CMD [\"/init\"]' - demo",
		commands[1],
		strings.Replace(commands[2], "IMAGE", "demo", 1),
		fmt.Sprintf("until [ -n \""+id+"\" ]; do :; done", "first"),
		commands[3],
		commands[4],
		fmt.Sprintf("until [ \""+id+"\" != \""+id+"\" ]; do :; done", "first", "second"),
		fmt.Sprintf("echo from "+id+" to "+id, "first", "second"),
	}, "\n")
	cmd := n.inside("timeout", "400", "bash", "-c", script)
	cmd.Env = append(cmd.Env, "HOME="+os.Getenv("HOME"), "PODMAN_IGNORE_CGROUPSV1_WARNING=1", "CXX=no-such-compiler",
		testenv.Mark())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var from, to string
	_, said, _ := strings.Cut(string(out), "\nfrom ")
	if _, err := fmt.Sscanf(said, "%s to %s", &from, &to); err != nil || len(from) != len(to) || from == to {
		t.Errorf("%v\n%s", err, out)
	}
}

// fiveCommands reads them.
func fiveCommands(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "containers.md"))
	must(t, err)
	_, section, _ := strings.Cut(string(page), "## In five commands\n")
	_, block, _ := strings.Cut(section, "\n\n    ")
	block, _, _ = strings.Cut(block, "\n\n")
	commands := strings.Split(block, "\n    ")
	if len(commands) != 5 {
		t.Fatalf("docs/containers.md has %d commands: %q", len(commands), commands)
	}
	return commands
}

// preparePodman gives the node criu in PATH, and podman what this machine may lack: a file system for layers, a network
// for each container, systemd, limits that can be raised.
func (n *node) preparePodman() {
	n.t.Helper()
	n.path = localPath + ":/usr/local/go/bin"
	execute(n.t, "cp", "-a", "/etc/alternatives", filepath.Join(n.root, "etc")) // cc
	n.program("local/bin/criu", "#!/bin/sh\nexec "+testenv.NeedCRIU(n.t).Path+" \"$@\"\n")
	n.write("etc/containers/policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	n.write("etc/containers/storage.conf",
		"[storage]\ndriver = \"vfs\"\ngraphroot = \"/var/lib/containers/storage\"\n"+
			"runroot = \"/run/containers/storage\"\n")
	n.write("etc/containers/containers.conf", "[containers]\nnetns = \"host\"\n"+
		"default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n"+
		"[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n")
}
