package docs_test

import (
	"regexp"
	"testing"

	"github.com/crpie/crpie/docs"
	"github.com/crpie/crpie/loader"
)

func TestEveryRuleHasItsSection(t *testing.T) {
	sections := map[loader.Code]string{}
	for _, m := range regexp.MustCompile(`(?m)^## (PIE\d{3}) (.*)$`).FindAllStringSubmatch(docs.Rules, -1) {
		sections[loader.Code(m[1])] = m[2]
	}
	for _, r := range loader.Rules() {
		if sections[r.Code] != r.Title {
			t.Errorf("rules.md: section of %s is %q, the rule is %q", r.Code, sections[r.Code], r.Title)
		}
		delete(sections, r.Code)
	}
	for code, title := range sections {
		t.Errorf("rules.md: %s %s is no rule", code, title)
	}
}
