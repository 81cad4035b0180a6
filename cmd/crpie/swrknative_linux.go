//go:build amd64

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer"
	"github.com/crpie/crpie/swrk"
)

// native carries a runtime's request out as crpie restore would, and returns the root task's pid.
func native(ctx context.Context, q *swrk.NativeRequest) (root int, err error) {
	var r restoreFlags
	inherited, err := r.ask(q)
	if err != nil {
		return 0, &swrk.NotPlanned{Err: err}
	}
	if r.pauseAt != "" {
		return 0, &swrk.NotPlanned{Err: errors.New("pie-pause is for crpie restore: nobody sees what a runtime's " +
			"criu prints")}
	}
	plugins, err := pluginspec.Load(r.plugins, r.untrusted.rule())
	if err != nil {
		return 0, &swrk.NotPlanned{Err: err}
	}
	log := newLogger(io.Discard, max(r.verbosity.level(), report.LogInfo)) // as much as a graft's tasks tell
	log.start = q.Start
	opts := r.options(plugins, inherited, log.level)
	opts.AllowUntrusted = true // the runtime has unpacked the images where it alone can write
	opts.Plan.Spare = true
	opts.Run = restorer.RunOptions{HookTimeout: r.timeout, Timeout: r.progressTimeout, LeaveStopped: r.stopped,
		Log: log.plugin}
	opts.Run.Act = func(a restorer.Action, root int) error {
		err := q.Notify(ctx, string(a), root)
		if err != nil && (a == restorer.PreResume || a == restorer.PostResume) { // criu goes on
			log.printf(report.LogError, root, "%v", err)
			return nil
		}
		return err
	}
	if q.Master != nil {
		opts.Run.Master = func(master *os.File) error { return q.Master(ctx, master) }
	}
	prepared, err := restorer.Prepare(opts)
	if err != nil {
		return 0, &swrk.NotPlanned{Err: err}
	}
	defer prepared.Close()
	if err := log.begin(q); err != nil {
		return 0, &swrk.NotPlanned{Err: err}
	}
	for _, w := range append(prepared.Warnings(), r.warnings...) {
		log.printf(report.LogWarning, 0, "%s%s", levelNames[report.LogWarning], w)
	}
	return prepared.Run(ctx)
}

// begin makes the log, as criu does, and says who restores.
func (l *logger) begin(q *swrk.NativeRequest) error {
	if q.Log == "" {
		l.w = os.Stderr
		return nil
	}
	f, err := openLog(q.Log, false, false)
	if err != nil {
		return err
	}
	l.w = f
	l.printf(report.LogError, 0, "crpie: %s", q.First)
	return nil
}

// ask takes in criu's configuration files, the request, and its config_file, each of which goes before those that
// came first.
func (r *restoreFlags) ask(q *swrk.NativeRequest) ([]restorer.Inherited, error) {
	f := r.usualFlags()
	search, asCRIU := criuconf.Search{Secure: sys.Secure(), Getenv: os.Getenv}, trust.Rule{Untrusted: true}
	err := r.configure(f, &search, asCRIU)
	r.plugins = nil // they are among the settings
	given := func(flag *pflag.Flag, value string) error { return f.Set(flag.Name, value) }
	err = errors.Join(err, r.parse(f, q.Flags, given))
	statements, problems := criuconf.Parse(q.ConfigName, q.ConfigText)
	for _, st := range statements {
		if !st.Hidden {
			err = errors.Join(err, r.state(f, &st))
		}
	}
	r.criuOnly.source = ""
	err = errors.Join(err, r.parse(f, q.Plugins, given))
	inherited, wrong := r.check()
	if problems = append(problems, wrong...); len(problems) > 0 {
		err = errors.Join(err, errors.New(strings.Join(problems, "\n")))
	}
	if r.pidfile != "" || len(r.scripts) > 0 || r.logPid || r.dryRun {
		err = errors.Join(err, errors.New(
			"pidfile, action-script and log-pid in configuration files: not supported by crpie's own restorer for runtimes"))
	}
	return inherited, err
}
