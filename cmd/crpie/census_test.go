//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A lostRow is a row of the table of docs/support.md that says what does not come back.
type lostRow struct {
	what  string
	facts []string // patterns of the facts, as the victim census and TakeSnapshot call them
	by    string   // "both", "criu" or "crpie", and a word about it
}

// lostRows reads the rows that speak of a restorer and of the images of a CRIU.
func lostRows(t *testing.T, restorer string, release testenv.Release) (rows []lostRow) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "support.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "\n## What does not come back\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("docs/support.md does not say what does not come back")
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| What ") {
			continue
		}
		row := lostRow{what: strings.TrimSpace(cells[0]), by: strings.TrimSpace(cells[2])}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			row.facts = append(row.facts, m[1])
		}
		speaks := strings.HasPrefix(row.by, "both") || strings.HasPrefix(row.by, restorer)
		newest := release == testenv.Newest
		ofOthers := strings.Contains(row.by, "before 4.2") && newest ||
			strings.Contains(row.by, "from 4.2 on") && !newest
		if speaks && !ofOthers {
			rows = append(rows, row)
		}
	}
	return rows
}

func matches(pattern, fact string) bool {
	ok, err := path.Match(pattern, fact)
	return ok && err == nil
}

// said gives the facts of the lines of a victim's output that begin with a word.
func said(output, word string) (facts []string) {
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			fact, _, _ := strings.Cut(rest, ": ")
			facts = append(facts, strings.TrimSpace(fact))
		}
	}
	return facts
}

// outside compares what /proc says. Threads are called by their place, mappings and the victim itself by the census.
func outside(before, after testenv.Snapshot) (facts []string) {
	thread := regexp.MustCompile(`^thread \d+ `)
	for _, line := range before.Without("map *", "ns_time").Diff(after.Without("map *", "ns_time")) {
		fact, _, _ := strings.Cut(line, ": ")
		facts = append(facts, "proc "+thread.ReplaceAllString(fact, "thread "))
	}
	slices.Sort(facts)
	return slices.Compact(facts)
}

// Everything about a process that anybody can see is after a restore what it was before the dump, or docs/support.md
// says that it is not; and what is said there to be lost is.
func TestCensus(t *testing.T) {
	for _, release := range testenv.Releases() {
		t.Run("dump"+release.Tag(), func(t *testing.T) {
			testenv.NeedRelease(t, release)
			takeCensus(t, release)
		})
	}
}

func takeCensus(t *testing.T, release testenv.Release) {
	t.Helper()
	victim := testenv.Start(t, "census")
	victim.Release = release
	lacking := said(victim.Output(), "LACKS")
	before := snapshot(t, victim)
	im := victim.Dump(t)
	for _, restorer := range []string{"criu", "crpie"} {
		t.Run(restorer, func(t *testing.T) {
			p := restoredBy(t, im, restorer)
			lost := outside(before, snapshot(t, p))
			if err := p.Finish(); err == nil {
				t.Error("the victim finds everything as it was")
			}
			lost = append(lost, said(p.Output(), "DIFFERS")...)
			if len(lost) < 100 {
				t.Errorf("the census is not complete:\n%s", p.Output())
			}
			compareCensus(t, lostRows(t, restorer, release), lost, lacking, p.Output())
		})
	}
}

func restoredBy(t *testing.T, im *testenv.Images, restorer string) *testenv.Process {
	t.Helper()
	if restorer == "criu" {
		return im.RestoreCRIU(t)
	}
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	return p
}

func compareCensus(t *testing.T, rows []lostRow, lost, lacking []string, output string) {
	t.Helper()
	seen := map[string]bool{}
	for _, fact := range lost {
		documented := false
		for _, row := range rows {
			for _, pattern := range row.facts {
				if matches(pattern, fact) {
					documented, seen[pattern] = true, true
				}
			}
		}
		if !documented {
			t.Errorf("docs/support.md does not say that this is lost: %s%s", fact, whatIs(output, fact))
		}
	}
	for _, row := range rows {
		for _, pattern := range row.facts {
			unknown := slices.ContainsFunc(lacking, func(fact string) bool {
				return matches(pattern, fact)
			})
			more := strings.HasPrefix(pattern, "proc ") // which not every kernel shows
			if !seen[pattern] && !unknown && !more {
				t.Errorf("docs/support.md says that %s (%s) is lost: it is not", pattern, row.what)
			}
		}
	}
}

// whatIs gives the rest of the line in which the victim has said what a fact is and was.
func whatIs(output, fact string) string {
	_, rest, found := strings.Cut(output, "DIFFERS "+fact+": ")
	if !found {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "\n")
	return fmt.Sprintf(" (%s)", rest)
}
