// Package criuconf reads the configuration files of criu(8). What the options in them mean is not known here.
package criuconf

import (
	"fmt"
	"strings"
	"unicode"
)

// Statement is one option of a file.
type Statement struct {
	Source string   // "FILE:LINE"
	Line   int      // from 1
	Hidden bool     // behind Directive: criu does not see it
	Words  []string // the option as on a command line, "--name" or "--name=value", and what follows it in the line
}

// Directive begins a comment that holds an option for crpie; criu skips it as any comment.
const Directive = "#crpie:"

// MaxSize bounds a file, bytes.
const MaxSize = 1 << 20

// Parse splits the text of a file into statements. An option and its argument are in one line, apart; an argument in
// double quotes may contain spaces, and quotes as \". A word that begins with # begins a comment. Problems come all
// together.
func Parse(file, text string) (all []Statement, problems []string) {
	return ParseLines(file, strings.Split(text, "\n"), 1)
}

// ParseLines splits lines of a file, the first of which has the number first.
func ParseLines(file string, lines []string, first int) (all []Statement, problems []string) {
	for i, line := range lines {
		source := fmt.Sprintf("%s:%d", file, first+i)
		words, hidden, err := split(line)
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: %v", source, err))
		case len(words) == 0:
		case strings.HasPrefix(words[0], "-"):
			problems = append(problems, fmt.Sprintf("%s: %q: options are written without dashes here: %s",
				source, words[0],
				strings.TrimLeft(words[0], "-")))
		default:
			words[0] = "--" + words[0]
			all = append(all, Statement{source, first + i, hidden, words})
		}
	}
	return all, problems
}

// split takes a line apart; hidden: it is behind Directive.
func split(line string) (words []string, hidden bool, err error) {
	rest := strings.TrimLeftFunc(line, unicode.IsSpace)
	if rest, hidden = strings.CutPrefix(rest, Directive); hidden {
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
	}
	for rest != "" && rest[0] != '#' {
		var word string
		if rest[0] == '"' {
			word, rest, err = quoted(rest[1:])
		} else {
			word, rest = plain(rest)
		}
		if err != nil {
			return nil, hidden, err
		}
		words = append(words, word)
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
	}
	return words, hidden, nil
}

// Option takes the option of a statement apart; ok is false when it has no value.
func (s *Statement) Option() (name, value string, ok bool) {
	name, value, ok = strings.Cut(strings.TrimPrefix(s.Words[0], "--"), "=")
	if !ok && len(s.Words) > 1 {
		return name, s.Words[1], true
	}
	return name, value, ok
}

// plain takes a word up to the next space.
func plain(s string) (word, rest string) {
	end := strings.IndexFunc(s, unicode.IsSpace)
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// quoted takes the text before the closing quote. A backslash stands for itself, except before a quote.
func quoted(s string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("no closing quote after %q", s)
}

// Search says which files are read.
type Search struct {
	Config    string // --config; then the default files are not read
	NoDefault bool   // --no-default-config
	// AT_SECURE of getauxval(3): the caller, who is not trusted, has set the environment
	Secure bool
	Getenv func(string) string // os.Getenv
}

// File is a configuration file.
type File struct {
	Name     string
	Required bool // a command line or a variable names it
}

// Files lists the files in the order in which they are read; what a later one says holds.
func (s *Search) Files() []File {
	var files []File
	if s.Config == "" && !s.NoDefault {
		files = append(files, File{Name: "/etc/criu/default.conf"})
		if home := s.getenv("HOME"); home != "" {
			files = append(files, File{Name: home + "/.criu/default.conf"})
		}
	}
	for _, name := range []string{s.getenv("CRIU_CONFIG_FILE"), s.Config} {
		if name != "" {
			files = append(files, File{name, true})
		}
	}
	return files
}

func (s *Search) getenv(name string) string {
	if s.Secure {
		return ""
	}
	return s.Getenv(name)
}
