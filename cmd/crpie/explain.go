package main

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/docs"
	"github.com/crpie/crpie/loader"
)

// runExplain prints the sections of all codes. An unknown code makes the status 2; the other sections are printed all
// the same.
func runExplain(args []string, std streams) int {
	f := flagSet()
	if status, done := parse(f, explainManual(), args, std); done {
		return status
	}
	if f.NArg() == 0 {
		for _, r := range loader.Rules() {
			fmt.Fprintf(std.out, "%s %s\n", r.Code, r.Title)
		}
		return exitOK
	}
	status := exitOK
	for _, code := range f.Args() {
		text, ok := section(docs.Rules, ruleCode(code))
		if !ok {
			fmt.Fprintf(std.err, "crpie: no rule %q\nTry: crpie explain\n", code)
			status = exitUsage
			continue
		}
		fmt.Fprint(std.out, text)
	}
	return status
}

func explainManual() *manual {
	return &manual{
		usage:    "explain [CODE...]",
		about:    "Tells what a rule of crpie check means, and how to keep it; without a code, lists the rules.",
		examples: "crpie explain PIE201\ncrpie explain 104 303",
	}
}

// ruleCode is the code as it is printed; 104 and pie104 are PIE104, too.
func ruleCode(given string) string { return "PIE" + strings.TrimPrefix(strings.ToUpper(given), "PIE") }

// section cuts the section of a code out of the rules document.
func section(doc, code string) (string, bool) {
	_, rest, ok := strings.Cut(doc, "\n## "+code+" ")
	if !ok {
		return "", false
	}
	if end := strings.Index(rest, "\n# "); end >= 0 {
		rest = rest[:end]
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return code + ": " + strings.TrimSpace(rest) + "\n", true
}
