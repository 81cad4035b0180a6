package plan

import (
	"bytes"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
)

// TestPlansEscapeNames prints a plan with names that would make lines of their own.
func TestPlansEscapeNames(t *testing.T) {
	const evil = "a\n::error::b\x1b[2J"
	p := &Plan{
		Files:   []ExtraFile{{Name: evil}},
		Cgroups: []CgroupDir{{Name: evil, Properties: []CgroupProperty{{Name: evil, Value: evil}}}},
		Zygote:  []Op{{Code: abi.OpPark, What: evil}},
		Tasks:   []*Task{{Comm: evil, Threads: []*Thread{{Ops: []Op{{Code: abi.OpPark, What: evil}}}}}},
	}
	var b bytes.Buffer
	p.Print(&b)
	if got := b.String(); strings.Contains(got, "\x1b") || strings.Contains(got, "\n:") ||
		strings.Count(got, `a\n::error::b\x1b[2J`) != 7 {
		t.Errorf("printed:\n%q", got)
	}
}
