package criuconf

import (
	"fmt"
	"io"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/trust"
)

// Read reads a file, and says why what is crpie's in it is not to be followed. Only a regular one: others could make
// crpie wait.
func Read(name string, rule trust.Rule) (text string, distrust, err error) {
	if files.IsNull(name) {
		return "", nil, nil
	}
	r, info, err := files.OpenRegular(name)
	if err != nil {
		return "", nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err == nil && len(data) > MaxSize {
		err = fmt.Errorf("%s: larger than %d bytes", name, MaxSize)
	}
	return string(data), rule.CheckNamed(name, info), err
}
