package graft

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// endingContext ends when it has been looked at so many times.
type endingContext struct {
	context.Context
	looks int
}

func (c *endingContext) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// Whenever a graft or its removal is ended, there is no output and nothing half done beside it.
func TestEndedGraft(t *testing.T) {
	dir := sample(t, "glibc")
	in, archive, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "in.tar"),
		filepath.Join(t.TempDir(), "out")
	if err := errors.Join(os.CopyFS(in, dir), os.WriteFile(archive, checkpointTar(t, dir), 0o600)); err != nil {
		t.Fatal(err)
	}
	plan, err := New(open(t, dir), options(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(ctx context.Context) error{
		"directory": func(ctx context.Context) error { return plan.WriteDir(ctx, in, out) },
		"archive": func(ctx context.Context) error {
			_, err := Archive(ctx, archive, out, options(t))
			return err
		},
	} {
		looks := 0
		for ; ; looks++ {
			err := do(&endingContext{context.Background(), looks})
			if err == nil {
				break
			}
			left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*"))
			if !errors.Is(err, context.Canceled) || len(left) > 0 {
				t.Fatalf("%s, after %d looks: %v; left: %v", name, looks, err, left)
			}
			if _, err := os.Lstat(out); err == nil {
				t.Fatalf("%s, after %d looks: there is output", name, looks)
			}
		}
		if looks < 3 {
			t.Errorf("%s: only %d places to end", name, looks)
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
}
