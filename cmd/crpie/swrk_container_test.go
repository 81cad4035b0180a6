//go:build linux && amd64

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

// giveLink is an OCI hook, by which a network namespace gets a link to the bridge brp: a runtime runs it when it makes
// a container, and in the middle of a restore.
const giveLink = `#!/bin/sh
exec >>"${0%/*}/hook.log" 2>&1
set -ex
PATH=/usr/sbin:/sbin:/usr/bin:/bin
pid=$(sed 's/.*"pid": *\([0-9]*\).*/\1/')
ip link add name vb type veth peer name eth0 netns "$pid"
ip link set vb master brp up
nsenter -t "$pid" -n ip addr add 10.9.0.2/24 dev eth0
nsenter -t "$pid" -n ip link set eth0 up
`

// ownNetwork gives the container a network namespace that a hook of the runtime's ties to the bridge.
func (c *container) ownNetwork() {
	c.t.Helper()
	hook := filepath.Join(c.dir, "give-link")
	must(c.t, os.WriteFile(hook, []byte(giveLink), 0o755))
	c.change(inNamespace("network"))
	c.change(func(config map[string]any) {
		config["hooks"] = map[string]any{"createRuntime": []any{map[string]any{"path": hook}}}
		config["process"].(map[string]any)["args"] = []string{"/init", "serve", "10.9.0.2", "7000"}
	})
}

// A connection into a network namespace that the runtime fills while the container is restored goes on: nothing answers
// for it meanwhile.
func TestFrontKeepsConnections(t *testing.T) {
	c, pidfile, client := servingContainer(t, func(map[string]any) {})
	images := c.checkpointServing()
	before := client.got.Load()
	c.front("restore-with crpie\npie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") +
		",var=INSTANCE_ID,value=a-clone\n")
	ok, said, log := c.restores(images, "--tcp-established", "--pid-file", pidfile)
	if !ok || !strings.Contains(log, "crpie: restore-with crpie: restored by crpie itself") {
		hook, _ := os.ReadFile(filepath.Join(c.dir, "hook.log"))
		t.Fatalf("restored: %v\n%s\n%s\n%s", ok, said, log, hook)
	}
	c.wantID("a-clone")
	client.await(t, before+200)
	client.finish(t)
}

// What is bound to an interface that the runtime makes while the container is restored works again. If nobody makes it,
// the restore fails and says so, and nothing is left.
func TestFrontAwaitsInterfaces(t *testing.T) {
	c, _, client := servingContainer(t, func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"/init", "serve", "10.9.0.2", "7000", "eth0"}
	})
	images := c.checkpointServing()
	before := client.got.Load()
	c.front("restore-with crpie\npie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") +
		",var=INSTANCE_ID,value=a-clone\n")
	hook := filepath.Join(c.dir, "give-link")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\ncat >/dev/null\n"), 0o755))
	ok, said, log := c.restores(images, "--tcp-established")
	if ok || !strings.Contains(log, "restore: network interface eth0, to which a socket is bound: nobody has made it at ") {
		t.Errorf("restored: %v\n%s\n%s", ok, said, log)
	}
	c.wantNothing()
	must(t, os.WriteFile(hook, []byte(giveLink), 0o755))
	ok, said, log = c.restores(images, "--tcp-established")
	if !ok || !strings.Contains(log, "crpie: restore-with crpie: restored by crpie itself") {
		t.Fatalf("restored: %v\n%s\n%s", ok, said, log)
	}
	c.wantID("a-clone")
	client.await(t, before+200)
	client.finish(t)
}

// servingContainer runs a container with a network namespace of its own, and a client outside that it answers.
func servingContainer(t *testing.T, change func(config map[string]any)) (c *container, pidfile string,
	client *echoClient) {
	t.Helper()
	for _, tool := range []string{"ip", "nsenter", "iptables"} {
		testenv.NeedTool(t, tool)
	}
	c = newContainer(t)
	hostBridge(t)
	c.ownNetwork()
	c.change(change)
	pidfile = filepath.Join(c.dir, "pid")
	c.runc("run", "--detach", "--pid-file", pidfile, c.name)
	c.wantID("the-first-of-its-kind")
	client = startClient(t, "10.9.0.2:7000")
	client.await(t, 200)
	return c, pidfile, client
}

// checkpointServing checkpoints the container with its connection.
func (c *container) checkpointServing() (images string) {
	c.t.Helper()
	images = filepath.Join(c.dir, "images")
	withoutPackets(c.t, func() {
		c.runc("checkpoint", "--tcp-established", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"),
			c.name)
		awaitNoLink(c.t, "vb")
	})
	return images
}

// withoutPackets keeps packets from the container: when it is dumped the kernel may take the firewall of its namespace
// down, and criu's lock with it, before its links; and stock CRIU locks a connection only after the links are there.
func withoutPackets(t *testing.T, do func()) {
	t.Helper()
	shell(t, "iptables", "-I", "OUTPUT", "-d", "10.9.0.2", "-j", "DROP")
	do()
	shell(t, "iptables", "-D", "OUTPUT", "-d", "10.9.0.2", "-j", "DROP")
}

// pid, mount, network, UTS, IPC and cgroup namespaces together, from the command line, with a connection that goes on:
// stock CRIU dumps the container again, and restores it.
func TestContainerInAllNamespaces(t *testing.T) {
	c, pidfile, client := servingContainer(t, inNamespace("cgroup"))
	again := filepath.Join(c.dir, "again")
	before := mountsOf(t, readPid(t, pidfile))
	images := c.checkpointServing()
	seen := client.got.Load()
	network := []string{"--tcp-established", "--empty-ns", "net"}
	action := c.linkAction()
	pid := c.fromHost(append([]string{"restore", "-d", "-D", images, "--root", filepath.Join(c.dir, "rootfs"),
		"--action-script", action}, network...))
	client.await(t, seen+200)
	wantMounts(t, pid, before)

	must(t, os.Mkdir(again, 0o755))
	withoutPackets(t, func() {
		c.must(exec.Command(c.criu, append([]string{"dump", "-t", strconv.Itoa(pid), "-D", again}, network...)...))
		awaitNoLink(t, "vb")
	})
	seen = client.got.Load()
	root := filepath.Join(c.dir, "root")
	must(t, os.Mkdir(root, 0o755))
	shell(t, "mount", "--bind", "--make-private", filepath.Join(c.dir, "rootfs"), root) // CRIU wants a mount point
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	withoutPackets(t, func() {
		c.must(exec.Command(c.criu, append([]string{"restore", "-d", "-D", again, "--root", root,
			"--action-script", action, "--pidfile", pidfile + "3"}, network...)...))
	})
	t.Cleanup(func() { endForGood(t, readPid(t, pidfile+"3")) })
	client.await(t, seen+200)
	client.finish(t)
}

// linkAction is an action script that does what the runtime's hook does.
func (c *container) linkAction() string {
	c.t.Helper()
	name := filepath.Join(c.dir, "action")
	must(c.t, os.WriteFile(name, []byte(`#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = setup-namespaces ] || exit 0
echo "{\"pid\": $CRTOOLS_INIT_PID}" | "${0%/*}/give-link"
`), 0o755))
	return name
}

// podman's bridge network: podman has made the namespace and its links when it starts the runtime, which passes it on.
// The terminal is with podman's monitor.
func TestFrontRestoresPodmanBridge(t *testing.T) {
	for _, tool := range []string{"podman", "iptables"} {
		testenv.NeedTool(t, tool)
	}
	c := newContainer(t)
	image, archive := c.image(), filepath.Join(c.dir, "checkpoint.tar.zst")
	c.front("restore-with crpie\npie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") +
		",var=INSTANCE_ID,value=a-clone\n")
	c.podman("run", "--detach", "--name", "first", "--tty", "--network", "bridge",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--env", "INSTANCE_ID=the-first-of-its-kind", "--env", testenv.Mark(), image,
		"/init", "serve", "0.0.0.0", "7000")
	c.wantIDAt(c.mounted("first"), "the-first-of-its-kind")
	c.podman("container", "checkpoint", "--export", archive, "first")
	c.podman("rm", "first")
	c.podman("container", "restore", "--import", archive, "--name", "second")
	c.wantIDAt(c.mounted("second"), "a-clone")
	client := startClient(t, c.podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "second")+":7000")
	client.await(t, 10)
	client.finish(t)
}

// image makes an image of the container's root file system. All containers of it are removed after the test.
func (c *container) image() string {
	c.t.Helper()
	name := strings.ToLower("crpie-test-" + filepath.Base(filepath.Dir(c.dir)))
	rootfs := filepath.Join(c.dir, "rootfs.tar")
	c.must(exec.Command("tar", "-C", filepath.Join(c.dir, "rootfs"), "-cf", rootfs, "."))
	c.podman("import", rootfs, name)
	c.t.Cleanup(func() { c.podman("rm", "--all", "--force", "--time", "0") })
	return name
}

// console is the socket on which a runtime hands over the masters of containers' terminals.
type console struct {
	t        *testing.T
	name     string
	listener *net.UnixListener
}

func newConsole(t *testing.T) *console {
	t.Helper()
	c := &console{t: t, name: filepath.Join(t.TempDir(), "console")}
	var err error
	if c.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: c.name, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.listener.Close() })
	return c
}

// master waits for one.
func (c *console) master() *os.File {
	c.t.Helper()
	must(c.t, c.listener.SetDeadline(time.Now().Add(testenv.Timeout)))
	conn, err := c.listener.AcceptUnix()
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	control := make([]byte, 64)
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 4096), control)
	if err != nil {
		c.t.Fatal(err)
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		c.t.Fatalf("%d control messages: %v", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		c.t.Fatalf("descriptors %v: %v", fds, err)
	}
	must(c.t, syscall.SetNonblock(fds[0], true))
	master := os.NewFile(uintptr(fds[0]), "master")
	c.t.Cleanup(func() { master.Close() })
	return master
}

// wantAnswer types a line and waits for what the container says.
func wantAnswer(t *testing.T, master *os.File, line, want string) {
	t.Helper()
	must(t, master.SetDeadline(time.Now().Add(testenv.Timeout)))
	if _, err := master.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
	said := ""
	for buffer := make([]byte, 4096); !strings.Contains(said, want+": "+line); {
		n, err := master.Read(buffer)
		if said += string(buffer[:n]); err != nil {
			t.Fatalf("the terminal says %q, want %s: %v", said, want, err)
		}
	}
}

// A container with a terminal gets it back, as /dev/console too, and the runtime gets its other end; again and again.
func TestFrontRestoresTerminals(t *testing.T) {
	c, console := newContainer(t), newConsole(t)
	c.change(func(config map[string]any) { config["process"].(map[string]any)["terminal"] = true })
	pidfile := filepath.Join(c.dir, "pid")
	c.runc("run", "--detach", "--console-socket", console.name, "--pid-file", pidfile, c.name)
	master := console.master()
	wantAnswer(t, master, "who", "the-first-of-its-kind")
	before, terminal := mountsOf(t, readPid(t, pidfile)), controllingTerminal(t, readPid(t, pidfile))
	if !slices.ContainsFunc(before, func(line string) bool { return strings.Contains(line, " /dev/console ") }) {
		t.Fatalf("no console is mounted:\n%s", strings.Join(before, "\n"))
	}
	for _, id := range []string{"a-clone", "another"} {
		c.front("")
		images := filepath.Join(c.dir, id)
		c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
		must(t, master.Close())
		c.front("restore-with crpie\npie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") +
			",var=INSTANCE_ID,value=" + id + "\n")
		ok, said, log := c.restores(images, "--pid-file", pidfile, "--console-socket", console.name)
		if !ok || !strings.Contains(log, "crpie: restore-with crpie: restored by crpie itself") {
			t.Fatalf("restored: %v\n%s\n%s", ok, said, log)
		}
		master = console.master()
		wantAnswer(t, master, "who", id)
		wantMounts(t, readPid(t, pidfile), before)
		if now := controllingTerminal(t, readPid(t, pidfile)); now != terminal {
			t.Errorf("its controlling terminal is %s, was %s", now, terminal)
		}
	}
}

// controllingTerminal gives tty_nr of proc_pid_stat(5), and whether the process is in the foreground.
func controllingTerminal(t *testing.T, pid int) string {
	t.Helper()
	_, rest, _ := strings.Cut(readFile(t, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	fields := strings.Fields(rest)
	return fmt.Sprint(fields[4], fields[5] == strconv.Itoa(pid))
}
