package graft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crpie/crpie/internal/several"
)

// Archives does the work of Archive for all containers of a pod: archives of the same names appear in the new directory
// out, all of them or none. The problems of all are reported together, in order.
func Archives(ctx context.Context, archives []string, out string, opts *Options) (plans []*Plan, err error) {
	err = eachArchive(archives, out, func(archive, out string) error {
		plan, err := Archive(ctx, archive, out, opts)
		plans = append(plans, plan)
		return err
	})
	return plans, err
}

// RemoveArchives does the work of RemoveArchive for several archives.
func RemoveArchives(ctx context.Context, archives []string, out string, limits Limits) error {
	return eachArchive(archives, out, func(archive, out string) error {
		return RemoveArchive(ctx, archive, out, limits)
	})
}

// eachArchive writes the results for several archives to a new directory, which gets its name when all are complete.
func eachArchive(archives []string, out string, do func(archive, out string) error) error {
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: it exists already; name a new directory", out)
	}
	if err := namesDiffer(archives); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), "."+filepath.Base(out)+".crpie-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	var problems []error
	for _, a := range archives {
		err := do(a, filepath.Join(tmp, filepath.Base(a)))
		if err != nil && !strings.HasPrefix(err.Error(), "archive ") {
			err = fmt.Errorf("archive %s: %w", a, err)
		}
		problems = append(problems, err)
	}
	if err = several.Join(problems...); err == nil {
		err = os.Rename(tmp, out)
	}
	if err != nil {
		return several.Join(err, os.RemoveAll(tmp))
	}
	return nil
}

// namesDiffer refuses archives that have one name in the new directory.
func namesDiffer(archives []string) error {
	known := map[string]string{}
	var problems []error
	for _, a := range archives {
		base := filepath.Base(a)
		if other, ok := known[base]; ok {
			problems = append(problems, fmt.Errorf(
				"archives %s and %s have the same name: rename one, or graft them one by one", other,
				a))
		}
		known[base] = a
	}
	return several.Join(problems...)
}
