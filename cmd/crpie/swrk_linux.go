//go:build amd64

package main

import (
	"context"
	"os"
	"strconv"

	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/swrk"
)

const swrkUsage = "swrk FD"

func swrkManual() *manual {
	return &manual{
		usage: swrkUsage,
		about: `Answers the request that a container runtime sends over descriptor FD, as criu swrk does: runc and crun start it so
under the name criu. A container for which plugins are configured is restored by crpie itself where its plan allows, else
by criu from images onto which they have been grafted; if a hook fails, so does the restore, and nothing is left. Every
other request goes to criu, unread.

Which plugins: lines pie-plugin FILE.o[,KEY=VALUE]... in the configuration file that the runtime names (annotation
org.criu.config, /etc/criu/runc.conf, /etc/criu/crun.conf), in criu's own as #crpie: pie-plugin ..., or in
/etc/crpie/containers.d/*.conf. docs/containers.md has the rest.`,
		examples: `crpie swrk 3
runc --criu /usr/local/lib/crpie/criu restore --image-path ckpt NAME
PATH=/usr/local/lib/crpie:$PATH podman container restore NAME`,
	}
}

// runSwrk does not return from a request that is criu's alone: criu takes the place of this process, execve(2), so the
// runtime waits for the right pid.
func runSwrk(args []string, std streams) int {
	f := flagSet()
	if status, done := parse(f, swrkManual(), args, std); done {
		return status
	}
	fd, err := strconv.Atoi(f.Arg(0))
	if f.NArg() != 1 || err != nil || fd < 0 {
		return misuse(std, swrkUsage, "give the number of the descriptor over which requests come")
	}
	status := 0
	err = ended.Until(func(ctx context.Context) (err error) {
		status, err = front(std).Serve(ctx, fd)
		return err
	})
	if err != nil {
		complain(std, err)
		return ended.Status(err, max(status, exitFailed))
	}
	return status
}

// asCRIU is crpie that was started under the name criu. All but a runtime's requests is criu's.
func asCRIU(args []string, std streams) int {
	if len(args) > 1 && args[0] == "swrk" {
		return runSwrk(args[1:2], std)
	}
	complain(std, front(std).Pass(args))
	return exitFailed
}

// front makes what package swrk needs from the program that it runs in. A set-user-ID program takes no configuration
// from its caller.
func front(std streams) *swrk.Front {
	f := &swrk.Front{
		ConfigDir: swrk.DefaultConfigDir, Getenv: os.Getenv, Secure: sys.Secure(),
		Tool:   "crpie " + toolVersion(),
		Errors: std.err, Native: native,
	}
	if dir := os.Getenv("CRPIE_CONFIG_DIR"); dir != "" && !f.Secure {
		f.ConfigDir = dir
	}
	return f
}
