package net

import (
	"fmt"
	"strings"
)

// script is a step: a tool reads a text.
type script struct {
	tool string // its file
	args []string
	name string // of the image
	text string
}

func (s *script) String() string {
	return fmt.Sprintf("%s < %s", strings.Join(append([]string{s.tool}, s.args...), " "), s.name)
}

// planTables plans the rules of netfilter.
func (p *planner) planTables() {
	p.planIptables("iptables", "iptables-restore")
	p.planIptables("ip6tables", "ip6tables-restore")
	text, name := p.raw("nftables")
	left := withoutLockNft(string(text))
	if strings.TrimSpace(left) == "" {
		return
	}
	if word := forbiddenNft(left); word != "" {
		p.Refuse(name, "", "it has the word %s, which nft list ruleset never writes", word)
		return
	}
	if what := compatNft(left); what != "" {
		p.Refuse(name, "restore it with criu", "it has a rule of iptables that nft shows, but cannot read: %s",
			what)
		return
	}
	p.steps = append(p.steps, &script{p.tool(name, "nft", "nftables"), []string{"-f", "-"}, name, left})
}

// planIptables plans what iptables-save has written, without the rules by which criu locks the network. The text goes
// to a program, so words that would make it do something else are refused.
func (p *planner) planIptables(kind, tool string) {
	text, name := p.raw(kind)
	left := withoutLockIptables(string(text))
	if strings.TrimSpace(left) == "" {
		return
	}
	if word := forbiddenIptables(left); word != "" {
		p.Refuse(name, "", "it has the word %s, which iptables-save never writes", word)
		return
	}
	p.steps = append(p.steps, &script{p.tool(name, tool, "iptables"), []string{"-w"}, name, left})
}

// The dump has locked the network of the namespace before it saved these texts: with iptables, whose rules nft lists as
// well, a chain CRIU in the table filter, and a jump to it from INPUT and OUTPUT; or with a table CRIU-RUN.

// lockedBy reports whether a line is the head of that table.
func lockedBy(line string) bool {
	id, isTable := strings.CutPrefix(line, "table inet CRIU-")
	id, open := strings.CutSuffix(id, " {")
	return isTable && open && id != "" && strings.Trim(id, "0123456789abcdef-") == ""
}

// lockJump reports whether a line of nft jumps to the chain.
func lockJump(line string) bool {
	return line == "\t\tjump CRIU" || like(line, "\t\tcounter packets # bytes # jump CRIU")
}

// lockRule reports whether a line of iptables-save does, or is of the chain.
func lockRule(line string) bool {
	if counters, rule, ok := strings.Cut(line, " "); ok && like(counters, "[#:#]") {
		line = rule
	}
	return line == "-A INPUT -j CRIU" || line == "-A OUTPUT -j CRIU" || strings.HasPrefix(line, "-A CRIU ")
}

// emptyChain reports whether a line is the head of a chain from which nft makes INPUT or OUTPUT.
func emptyChain(line string) bool {
	line = strings.Replace(line, " hook output ", " hook input ", 1)
	line = strings.Replace(line, " priority 0;", " priority filter;", 1)
	return line == "\t\ttype filter hook input priority filter; policy accept;"
}

// compatNft returns the first match or target of iptables in a rule of nft, "" if there is none.
func compatNft(text string) string {
	for line := range strings.Lines(text) {
		for _, kind := range []string{`xt match "`, `xt target "`} {
			_, rest, found := strings.Cut(line, kind)
			if name, _, closed := strings.Cut(rest, `"`); found && closed {
				return kind + name + `"`
			}
		}
	}
	return ""
}

// like reports whether a text is the pattern, in which each # stands for a number.
func like(text, pattern string) bool {
	for i, fixed := range strings.Split(pattern, "#") {
		if i > 0 {
			behind := strings.TrimLeft(text, "0123456789")
			if behind == text {
				return false
			}
			text = behind
		}
		var ok bool
		if text, ok = strings.CutPrefix(text, fixed); !ok {
			return false
		}
	}
	return text == ""
}

// withoutLockNft leaves the lock of the dump away.
func withoutLockNft(text string) string {
	var left strings.Builder
	for _, table := range blocks(text, "}") {
		// nft 1.0.7 and later warn of iptables' tables
		for len(table) > 1 && (table[0] == "" || table[0][0] == '#') {
			table = table[1:]
		}
		whole := len(table) > 1 && table[len(table)-1] == "}"
		switch head := table[0]; {
		case lockedBy(head):
		case whole && (head == "table ip filter {" || head == "table ip6 filter {"):
			left.WriteString(withoutLockChain(table))
		default:
			left.WriteString(strings.Join(table, "\n") + "\n")
		}
	}
	return left.String()
}

// blocks cuts a text before each line after end. The last one may have no end.
func blocks(text, end string) (all [][]string) {
	var block []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		block = append(block, line)
		if line == end {
			all, block = append(all, block), nil
		}
	}
	if len(block) > 0 {
		all = append(all, block)
	}
	return all
}

// withoutLockChain leaves the chain CRIU away, jumps to it, and chains that were made with it: nft lists chains in
// the order in which they were made, so those come after it and have nothing else. Without anything else the table
// goes, too.
func withoutLockChain(table []string) string {
	body := strings.Join(table[1:len(table)-1], "\n")
	locked, kept := false, []string{}
	for _, chain := range blocks(body, "\t}") {
		for len(chain) > 1 && chain[0] == "" {
			chain = chain[1:]
		}
		if chain[0] == "\tchain CRIU {" {
			locked = true
			continue
		}
		var rest []string
		jumps := false
		for _, line := range chain {
			if lockJump(line) {
				jumps = true
				continue
			}
			rest = append(rest, line)
		}
		if !(locked && jumps && len(rest) == 3 && emptyChain(rest[1])) {
			kept = append(kept, strings.Join(rest, "\n"))
		}
	}
	if locked && len(kept) == 0 {
		return ""
	}
	return table[0] + "\n" + strings.Join(kept, "\n\n") + "\n" + table[len(table)-1] + "\n"
}

// withoutLockIptables does the same to what iptables-save has written.
func withoutLockIptables(text string) string {
	var left strings.Builder
	for line := range strings.Lines(text) {
		bare := strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(bare, ":CRIU ") && !lockRule(bare) {
			left.WriteString(line)
		}
	}
	return left.String()
}

// forbiddenNft finds words by which a text can have nft read other files or do more than make tables: nft runs as root,
// and in this namespace alone, but with the host's files.
func forbiddenNft(text string) string {
	depth := 0
	for _, statement := range statements(text) {
		switch statement {
		case "{":
			depth++
			continue
		case "}":
			depth--
			continue
		}
		word, _, _ := strings.Cut(strings.TrimSpace(statement), " ")
		switch word {
		case "include", "define", "redefine", "undefine":
			return word
		case "table", "":
		default:
			if depth == 0 {
				return word
			}
		}
	}
	return ""
}

// statements cuts a text of nft where a statement can end, and gives braces alone. Strings and comments have no words;
// a string has no escapes, nft's scanner.l.
func statements(text string) (all []string) {
	var word strings.Builder
	end := func() {
		all = append(all, word.String())
		word.Reset()
	}
	quoted, comment := false, false
	for _, c := range []byte(text) {
		switch {
		case comment && c != '\n':
		case quoted && c != '"':
		case c == '"':
			quoted = !quoted
		case c == '#':
			comment = true
		case c == '\n', c == ';', c == '{', c == '}':
			comment = false
			end()
			if c == '{' || c == '}' {
				all = append(all, string(c))
			}
		case c == '\t', c == '\r':
			word.WriteByte(' ')
		default:
			word.WriteByte(c)
		}
	}
	end()
	return all
}

// forbiddenIptables finds words by which a text can have iptables-restore execute a program: --modprobe, -M, also
// abbreviated and in a cluster of letters, getopt(3).
func forbiddenIptables(text string) string {
	for line := range strings.Lines(text) {
		for _, word := range strings.Fields(strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(line)) {
			name, _, _ := strings.Cut(word, "=")
			long := len(name) > 3 && strings.HasPrefix("--modprobe", name)
			short := len(word) > 1 && word[0] == '-' && word[1] != '-' && strings.Contains(word, "M")
			if long || short {
				return word
			}
		}
	}
	return ""
}
