package mnt

import (
	"slices"
	"strings"
)

// splitOptions takes the options of mountinfo apart. The list of nodes in mpol of tmpfs has commas of its own,
// Documentation/filesystems/tmpfs.rst; seclabel says that SELinux labels the files, and is no option.
func splitOptions(text string) (words []string) {
	for text != "" {
		var word string
		word, text = nextOption(text)
		last := len(words) - 1
		switch {
		case word == "", word == "seclabel":
		case last >= 0 && strings.HasPrefix(words[last], "mpol=") && word[0] >= '0' && word[0] <= '9':
			words[last] += "," + word
		default:
			words = append(words, unquote(word))
		}
	}
	return words
}

// nextOption cuts the text at its first comma that is not between quotes. SELinux quotes a label that has commas,
// security/selinux/hooks.c show_sid.
func nextOption(text string) (word, rest string) {
	quoted := false
	for i, c := range []byte(text) {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// unquote takes the quotes from a label, which mount(2) does itself and fsconfig(2) does not.
func unquote(word string) string {
	key, value, _ := strings.Cut(word, "=")
	if isLabel(word) && len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		return key + "=" + value[1:len(value)-1]
	}
	return word
}

// labels are the options by which SELinux labels a file system, mount(8).
var labels = []string{"context", "fscontext", "defcontext", "rootcontext"}

// isLabel reports whether only a host with SELinux knows the option.
func isLabel(word string) bool {
	key, _, ok := strings.Cut(word, "=")
	return ok && slices.Contains(labels, key)
}

// relabel gives the label of all files another value, where there is one, as --lsm-mount-context of criu(8).
func relabel(words []string, context string) []string {
	for i, word := range words {
		if context != "" && strings.HasPrefix(word, "context=") {
			words[i] = "context=" + context
		}
	}
	return words
}
