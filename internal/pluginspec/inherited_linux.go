package pluginspec

import "github.com/crpie/crpie/internal/sys"

func inherited(fd int) bool { return sys.Inherited(fd) }
