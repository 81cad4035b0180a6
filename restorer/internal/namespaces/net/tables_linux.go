package net

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/sys"
)

// toolTimeout bounds how long a tool may read a text.
const toolTimeout = 30 * time.Second

// do has the tool read the text. It is executed by this thread, so it is in the namespace.
func (s *script) do(*maker) error {
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	var said limited
	cmd := exec.CommandContext(ctx, s.tool, s.args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", strings.NewReader(s.text), &said, &said
	cmd.WaitDelay = time.Second
	if err := sys.RunTool(cmd); err != nil {
		return fmt.Errorf("%w: %s", err, escape.Name(strings.TrimSpace(said.String())))
	}
	return nil
}

// limited keeps the beginning of what a tool says.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	const most = 4 << 10
	if room := most - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}
