package restorer

import (
	"github.com/crpie/crpie/restorer/internal/planner"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// PlanOptions are the choices of whoever restores.
type PlanOptions = job.Options

// Inherited is a descriptor of this process that takes the place of a file of the images, --inherit-fd of criu(8).
type Inherited = job.Inherited

// CgroupMode says what is done with cgroups, --manage-cgroups of criu(8).
type CgroupMode = job.CgroupMode

// CgroupModes lists the modes.
var CgroupModes = planner.CgroupModes

// FileValidation says how files are compared with what they were, --file-validation of criu(8).
type FileValidation = job.FileValidation

// FileValidations lists the ways.
var FileValidations = job.FileValidations

// ByBuildID compares build ids, where there are any.
const ByBuildID = job.ByBuildID

// ParseCgroupRoot reads [CONTROLLER:]/PATH, as --cgroup-root of criu(8).
func ParseCgroupRoot(s string) (controller, root string, err error) {
	return planner.ParseCgroupRoot(s)
}
