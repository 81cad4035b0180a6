package planner

import (
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A task has the label that it had, or that of --lsm-profile, if that is crpie's own, with or without AppArmor's mode.
func TestSecurityLabels(t *testing.T) {
	for name, tc := range map[string]struct{ dumped, given, own, refused string }{
		"none":               {"", "", "unconfined", ""},
		"apparmor":           {"prof", "", "prof (enforce)", ""},
		"selinux":            {"u:r:t:s0", "", "u:r:t:s0", ""},
		"another":            {"prof", "", "unconfined", "prof"},
		"given":              {"prof", "mine", "mine (complain)", ""},
		"given, but another": {"prof", "mine", "prof (enforce)", "mine"},
		"given for none":     {"", "mine", "", "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			host.LSM = func() string { return tc.own }
			dir.Tasks[0].Threads[0].Core.GetThreadCore().GetCreds().LsmProfile = pb.String(tc.dumped)
			_, err := buildSample(t, dir, host, &job.Options{LSMProfile: tc.given})
			if tc.refused == "" && err != nil {
				t.Fatal(err)
			}
			if tc.refused != "" {
				wantRefusal(t, err, `security label "`+tc.refused+`": changing labels is not supported`)
			}
		})
	}
}
