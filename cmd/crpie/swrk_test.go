//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/internal/trust"
)

// byRPC restores as a runtime does: it starts crpie as criu, sends a request, agrees to all that it is told, and
// returns the answer, the exit status and criu's log.
func byRPC(t *testing.T, im *testenv.Images, change func(*pb.CriuOpts)) (answer *pb.CriuResp, status int, log string) {
	t.Helper()
	ours, its, err := sys.NewChannel()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	number, err := its.Bequeath()
	if err != nil {
		t.Fatal(err)
	}
	end := os.NewFile(uintptr(number), "its end")
	work := t.TempDir()
	cmd := im.Command(t, frontOf(t, testenv.NeedCRIU(t).Path, ""), "swrk", "3")
	cmd.ExtraFiles = []*os.File{end}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	opts := &pb.CriuOpts{ImagesDirFd: openDir(t, im.Dir), WorkDirFd: openDir(t, work), LogLevel: pb.Int32(4),
		LogFile:        pb.String("restore.log"),
		TcpEstablished: pb.Bool(true), FileLocks: pb.Bool(true), NotifyScripts: pb.Bool(true)}
	if change != nil {
		change(opts)
	}
	kind := pb.CriuReqType_RESTORE
	send(t, ours, &pb.CriuReq{Type: &kind, Opts: opts})
	answer = agree(t, ours)
	err = cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(work, "restore.log"))
	return answer, cmd.ProcessState.ExitCode(), string(text)
}

func openDir(t *testing.T, name string) *int32 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return pb.Int32(int32(f.Fd()))
}

func send(t *testing.T, line sys.Channel, m pb.Message) {
	t.Helper()
	data, err := images.Marshal(m)
	if err == nil {
		err = line.Send(data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// agree answers notifications until the answer comes; nil: none has come.
func agree(t *testing.T, line sys.Channel) *pb.CriuResp {
	t.Helper()
	for buffer := make([]byte, 1<<20); ; {
		n, _, err := line.Receive(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		resp := &pb.CriuResp{}
		if err == nil {
			_, err = images.Unmarshal(buffer[:n], resp)
		}
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetType() != pb.CriuReqType_NOTIFY {
			return resp
		}
		kind := pb.CriuReqType_NOTIFY
		send(t, line, &pb.CriuReq{Type: &kind, NotifySuccess: pb.Bool(true)})
	}
}

// configured writes the configuration file of a request.
func configured(t *testing.T, text string) func(*pb.CriuOpts) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "runc.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *pb.CriuOpts) { o.ConfigFile = &name }
}

// Programs of every kind go on behind hooks that somebody has waited for.
func TestFrontRestoresPrograms(t *testing.T) {
	lines := configured(t, "restore-with graft\npie-allow-skipped-stages\npie-plugin "+trace(t)+"\n")
	itself := configured(t, "pie-plugin "+trace(t)+"\n")
	for _, name := range []string{"static", "threads", "tree", "glibc", "sessions"} {
		t.Run(name, func(t *testing.T) {
			var args []string
			if name == "sessions" {
				args = []string{"fewer"}
			}
			im := testenv.Start(t, name, args...).Dump(t)
			before := digest(t, im.Dir)
			answer, status, log := byRPC(t, im, func(o *pb.CriuOpts) {
				lines(o)
				o.NotifyScripts = pb.Bool(name != "static")
			})
			if status != 0 || !answer.GetSuccess() || answer.GetRestore().GetPid() != int32(im.Pid) ||
				!strings.Contains(log, "crpie: all hooks have run, grafted tasks: ") {
				t.Fatalf("status %d, answer %v\n%s", status, answer, ownLines(log))
			}
			im.Adopt(t).MustPass(t)
			answer, status, log = byRPC(t, im, func(o *pb.CriuOpts) {
				itself(o)
				o.RstSibling = pb.Bool(true)
			})
			if status != 0 || !answer.GetSuccess() || answer.GetRestore().GetPid() != int32(im.Pid) ||
				!strings.Contains(log, "crpie: restore-with auto: restored by crpie itself, with ") ||
				!strings.Contains(log, "PIE_RST_POST_FILES") {
				t.Fatalf("by crpie itself: status %d, answer %v, %s\n%s", status, answer,
					answer.GetCrErrmsg(), log)
			}
			im.Adopt(t).MustPass(t)
			if digest(t, im.Dir) != before {
				t.Error("the images have changed")
			}
		})
	}
}

// One hook fails in one task of a tree: no other task goes on either, and the tree can be restored another time.
func TestFrontUndoesTrees(t *testing.T) {
	im := testenv.Start(t, "tree").Dump(t)
	fsys, err := images.Open(os.DirFS(im.Dir))
	if err != nil {
		t.Fatal(err)
	}
	last := uint32(0)
	for _, task := range fsys.Tasks {
		if !task.Dead() {
			last = task.Pid
		}
	}
	for _, how := range []string{"error", "null", "exit", "null native", "error native"} {
		how, native, _ := strings.Cut(how, " ")
		lines := fmt.Sprintf("restore-with graft\npie-allow-skipped-stages\npie-plugin %s,stage=PRE_SIGRETURN,how=%s,tid=%d\n",
			testenv.Plugin(t, "testdata/plugins/fail.c"), how, last)
		if native != "" {
			lines = strings.Replace(lines, "restore-with graft\npie-allow-skipped-stages\n", "", 1)
		}
		answer, status, log := byRPC(t, im, configured(t, lines))
		if answer.GetSuccess() {
			im.Adopt(t)
			t.Fatalf("%s: restored\n%s", how, ownLines(log))
		}
		if status != 1 || answer == nil || answer.GetCrErrno() != 125 ||
			!strings.Contains(answer.GetCrErrmsg(), fmt.Sprintf("restore task %d: ", last)) {
			t.Errorf("%s: status %d, answer %v, %s\n%s", how, status, answer, answer.GetCrErrmsg(),
				ownLines(log))
		}
		im.Reap()
		if left := im.Leftovers(); len(left) > 0 {
			t.Errorf("%s: left behind: %v", how, left)
		}
	}
	if answer, status, log := byRPC(t, im, nil); status != 0 || !answer.GetSuccess() ||
		strings.Contains(log, "crpie") {
		t.Fatalf("status %d, answer %v\n%s", status, answer, tail(log))
	}
	im.Adopt(t).MustPass(t)
}

// A task that waits for somebody who is not there any more ends by itself, and nothing of the application has run.
func TestGraftedTaskLosesPatience(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	dir, err := images.Open(os.DirFS(im.Dir))
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := pluginspec.Load([]string{trace(t)}, trust.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := graft.New(dir, &graft.Options{
		Plugins: []graft.Plugin{{Input: inputs[0]}}, AllowSkipped: true, Patience: 3 * time.Second,
	})
	grafted := *im
	grafted.Dir = filepath.Join(t.TempDir(), "grafted")
	if err == nil {
		err = plan.WriteDir(t.Context(), im.Dir, grafted.Dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := grafted.RestoreCRIU(t)
	if err := p.Finish(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%#x", graft.ExitStatus<<8)) {
		t.Errorf("it ended with %v, want exit status %d", err, graft.ExitStatus)
	}
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-2000):] }
