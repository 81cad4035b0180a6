package sdktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

const growthHook = `
#include <crpie/plugin.h>
static int hook(struct crpie_ctx *ctx)
{
#ifdef GROWN
	if (CRPIE_CTX_HAS(ctx, novelty))
		return (int)ctx->novelty;
#endif
	return ctx->pid;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
`

// growthCore calls the hook as a core does. Behind the context there is no memory.
const growthCore = `
#include <crpie/abi.h>
#include <sys/mman.h>
extern struct crpie_hook_record __start_crpie_hooks[];
int main(void)
{
	char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct crpie_ctx *ctx = (struct crpie_ctx *)(pages + 4096) - 1;

	mprotect(pages + 4096, 4096, PROT_NONE);
	ctx->size = sizeof(*ctx);
	ctx->abi = CRPIE_ABI_VERSION;
	ctx->pid = 7;
#ifdef GROWN
	ctx->novelty = 42;
#endif
	return __start_crpie_hooks[0].fn(ctx);
}
`

// grownHeaders copies the headers, with a member at the end of struct crpie_ctx that there is not yet.
func grownHeaders(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "include")
	if err := os.CopyFS(dir, os.DirFS(loadertest.Include(t))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "crpie", "abi.h")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, ctx, found := strings.Cut(string(data), "\nstruct crpie_ctx {\n")
	if !found {
		t.Fatal("abi.h has no struct crpie_ctx")
	}
	grown := before + "\nstruct crpie_ctx {\n" + strings.Replace(ctx, "\n};", "\n\tuint64_t novelty;\n};", 1)
	if err := os.WriteFile(file, []byte(grown), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An older plugin works with a context that has grown, and a newer one asks before it uses what an older core lacks.
func TestTheContextMayGrow(t *testing.T) {
	t.Parallel()
	now, grown := loadertest.Include(t), grownHeaders(t)
	for _, c := range []struct {
		what         string
		plugin, core string
		want         int
	}{
		{"a newer plugin on an older core", grown, now, 7},
		{"an older plugin on a newer core", now, grown, 7},
		{"both new", grown, grown, 42},
	} {
		for _, cc := range []string{"gcc", "clang-19"} {
			dir := t.TempDir()
			object := func(name, source, include string) string {
				args := []string{"-O2", "-I", include, "-c", "-xc", "-", "-o", filepath.Join(dir, name)}
				if include == grown {
					args = append(args, "-DGROWN")
				}
				command(t, source, cc, args...)
				return filepath.Join(dir, name)
			}
			exe := filepath.Join(dir, "exe")
			command(t, "", cc, "-o", exe, object("core.o", growthCore, c.core),
				object("plugin.o", growthHook, c.plugin))
			cmd := exec.Command(exe)
			if _ = cmd.Run(); cmd.ProcessState.ExitCode() != c.want {
				t.Errorf("%s, %s: %v, want status %d", cc, c.what, cmd.ProcessState, c.want)
			}
		}
	}
}

// command runs a tool with text as its input; it must succeed.
func command(t *testing.T, text, tool string, args ...string) {
	t.Helper()
	cmd := exec.Command(loadertest.Tool(t, tool), args...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
}
