package main

import (
	"fmt"
	"strconv"
	"strings"
)

// criuCommands are the commands of criu(8) that crpie lacks, with the reason.
func criuCommands() map[string]string {
	return map[string]string{
		"dump":        "criu dumps, crpie restores what it dumped",
		"pre-dump":    "criu dumps, crpie restores what it dumped",
		"dedup":       "criu deduplicates images; crpie never writes to them",
		"page-server": "criu takes pages from another machine; crpie restores the directory that it leaves",
		"lazy-pages":  "crpie fills all memory before the process runs, so there is nothing to serve",
		"service":     "criu serves requests",
		"cpuinfo":     "criu records and compares CPUs",
		"exec":        "criu has given it up as well, for compel",
	}
}

// leaveToCRIU says what to type instead.
func leaveToCRIU(why string, args []string, std streams) int {
	fmt.Fprintf(std.err, "crpie: no command %q: %s\n  hint: %s\n", args[0], why,
		shellWords(append([]string{"criu"}, args...)))
	return exitUsage
}

// plainWord reports whether a shell takes a word as it is.
func plainWord(word string) bool {
	return word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == ""
}

// shellWords writes a command so that a shell reads it back, and a terminal is not moved by it.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		switch {
		case plainWord(word):
			quoted[i] = word
		case strconv.Quote(word) == `"`+word+`"`: // nothing to escape
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		default:
			q := strconv.Quote(word)
			quoted[i] = "$'" + strings.ReplaceAll(q[1:len(q)-1], "'", `\'`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
