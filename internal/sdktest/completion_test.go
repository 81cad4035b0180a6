package sdktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/internal/testenv"
)

// completeBash calls the completion as readline does: words end at = and :, and the answer stands for what is behind
// the last of these.
const completeBash = `
. "$1"
for line in "${@:2}"; do
	COMP_LINE=$line COMP_POINT=${#line} COMPREPLY=()
	read -ra COMP_WORDS <<< "${line//[=:]/ & }"
	[[ $line == *[=:] ]] && COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_crpie
	echo "${COMPREPLY[*]}"
done
`

// The shells offer what a plugin declares behind its file.
func TestCompletionKnowsParameters(t *testing.T) {
	t.Parallel()
	dir := filepath.Dir(testenv.CRPIE(t))
	object := loadertest.Compile(t, "gcc -O2 -fcf-protection=none "+pluginFlags, ".c", growthHook+`
CRPIE_PARAM_STR("name", CRPIE_REQUIRED, "who: a name")
CRPIE_PARAM_ENUM("mode", CRPIE_OPTIONAL, "set add", "")
CRPIE_PARAM_BOOL("most", CRPIE_DEFAULT("no"), "")
CRPIE_PARAM_ONE_OF("name mode", CRPIE_OPTIONAL)
`)
	if err := os.Rename(object, filepath.Join(dir, "p.o")); err != nil {
		t.Fatal(err)
	}
	all := "p.o,name= p.o,mode=set p.o,mode=add p.o,most=yes p.o,most=no p.o,select=root p.o,select=pid: p.o,select=comm:"
	cases := [][2]string{
		{"crpie restore --pie-plugin p.o,", all},
		{"crpie graft -D d --pie-plugin=p.o,", all},
		{"crpie check p.o,mo", "p.o,mode=set p.o,mode=add p.o,most=yes p.o,most=no"},
		{"crpie check p.o,mode=", "set add"},
		{"crpie check p.o,name=x,mos", "x,most=yes x,most=no"},
		{"crpie check p.o,select=pid:", ""},
		{"crpie check p.o,select=pid:7,mode=a", "add"},
		{"crpie check none.o,", ""},
		{"crpie check p", "p.o"},
		{"crpie explain PIE10", "PIE101 PIE102 PIE103 PIE104 PIE105 PIE106 PIE107 PIE108 PIE109"},
		{"crpie explain pie104", "PIE104"},
	}
	args := []string{"-c", completeBash, "bash", filepath.Join(root(t), "completions", "crpie.bash")}
	want := ""
	for _, c := range cases {
		args, want = append(args, c[0]), want+c[1]+"\n"
	}
	cmd := exec.Command("bash", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%v, completed\n%swant\n%s", err, out, want)
	}
}
