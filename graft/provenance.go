package graft

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/loader"
)

// The values of Provenance.Mode: the images refer to the original, or stand alone.
const (
	incremental = "incremental"
	standAlone  = "copy"
)

// ProvenanceFile lies beside the images and says what was grafted onto them.
const ProvenanceFile = "crpie-graft.json"

// originals is the folder of a stand-alone graft in which the replaced images are kept.
const originals = "crpie-graft.orig"

// Provenance is the contents of ProvenanceFile.
type Provenance struct {
	SchemaVersion int             `json:"schema_version"`
	Tool          string          `json:"tool"`
	Mode          string          `json:"mode"` // incremental or copy
	Plugins       []GraftedPlugin `json:"plugins"`
	Tasks         []GraftedTask   `json:"tasks"`
	OnError       string          `json:"on_error"`
	HookTimeoutMs int64           `json:"hook_timeout_ms"`
	LogFile       string          `json:"log_file,omitempty"`
	Replaced      []Replaced      `json:"replaced"`
	Inserted      []Inserted      `json:"inserted,omitempty"`
}

// GraftedPlugin names a plugin; the values of its parameters may be secret, and are not here.
type GraftedPlugin struct {
	Name   string   `json:"name"` // as in messages: "name #2" if several have that name
	File   string   `json:"file"`
	SHA256 string   `json:"sha256"`
	Params []string `json:"params,omitempty"`
	Hooks  []string `json:"hooks"`
	Tasks  []string `json:"tasks,omitempty"` // selectors; without any it runs in every task
	Code   []Placed `json:"code"`            // where "blob+0x..." of a message lies in the object

	Sections []Placed `json:"sections"` // all that are in memory, for a debugger: code, constants, data and zeros
}

// Placed is one section in the blob.
type Placed struct {
	Section string `json:"section"`
	Blob    string `json:"blob"` // distance from the start of the blob
	Size    uint64 `json:"size"`
}

// GraftedTask says where in a task the graft lies.
type GraftedTask struct {
	Pid     uint32 `json:"pid"`
	Comm    string `json:"comm"`
	Threads int    `json:"threads"`
	Address string `json:"address"`
	Blob    string `json:"blob"` // what "blob+0x..." in messages counts from
	Size    uint64 `json:"size"`

	Resident []string `json:"resident_hooks,omitempty"` // that it carries itself: file, stage, function
}

// Replaced is an image that the graft changed, and the digest of the original.
type Replaced struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// Inserted is a stretch of a pages file that the original, Total bytes long, has not.
type Inserted struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	Total  int64  `json:"total"`
}

// describeCode serves readers of "blob+0x1a", and of gdb's add-symbol-file: the distances are the same in every task.
func (g *grafter) describeCode(image *blob.Image) {
	for i := range g.plan.Provenance.Plugins {
		p := &g.plan.Provenance.Plugins[i]
		if p.Code != nil {
			continue
		}
		for k, s := range g.opts.Plugins[i].Plugin.Sections {
			if s.Segment() == loader.Text && s.Size > 0 {
				p.Code = append(p.Code, Placed{s.Name,
					hexAddr(uint64(image.SectionAddr(i, k) - image.Base)), s.Size})
			}
		}
		for _, s := range image.PluginSections(i) {
			p.Sections = append(p.Sections, Placed{s.Name, hexAddr(uint64(s.Addr - image.Base)), s.Size})
		}
	}
}

func hexAddr(a uint64) string { return fmt.Sprintf("0x%x", a) }

// begin fills what the provenance says of the whole graft.
func (g *grafter) begin() {
	p := &g.plan.Provenance
	p.SchemaVersion, p.Tool, p.Mode, p.OnError = 1, g.opts.Tool, standAlone, "kill"
	if g.plan.Parent {
		p.Mode = incremental
	}
	if g.opts.Continue {
		p.OnError = "continue"
	}
	p.HookTimeoutMs, p.LogFile = g.opts.HookTimeout.Milliseconds(), g.opts.LogFile
	for i, in := range g.opts.Plugins {
		gp := GraftedPlugin{Name: g.labels[i], File: filepath.Base(in.Plugin.File), SHA256: in.SHA256,
			Hooks: []string{}}
		for _, kv := range in.Params {
			gp.Params = append(gp.Params, kv.Key)
		}
		for _, s := range in.Tasks {
			gp.Tasks = append(gp.Tasks, s.String())
		}
		for _, h := range in.Plugin.Hooks {
			if late(h.ID) {
				gp.Hooks = append(gp.Hooks, h.ID.String())
			}
		}
		p.Plugins = append(p.Plugins, gp)
	}
}

// replace plans new contents for a file. A stand-alone directory keeps the old ones.
func (g *grafter) replace(name string, data []byte) error {
	info, err := fs.Stat(g.dir.FS, name)
	if err != nil {
		return err
	}
	old, err := images.ReadRange(g.dir.FS, images.Range{File: name, Size: info.Size()})
	if err != nil {
		return err
	}
	g.plan.Provenance.Replaced = append(g.plan.Provenance.Replaced,
		Replaced{name, fmt.Sprintf("%x", sha256.Sum256(old))})
	g.plan.Files = append(g.plan.Files, File{name, []Part{{Data: data}}})
	if !g.plan.Parent {
		g.plan.Files = append(g.plan.Files, File{path.Join(originals, name), []Part{{Data: old}}})
	}
	return nil
}

// finish adds the provenance to the files and sorts them.
func (g *grafter) finish() error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(&g.plan.Provenance); err != nil {
		return err
	}
	g.plan.Files = append(g.plan.Files, File{ProvenanceFile, []Part{{Data: b.Bytes()}}})
	slices.SortFunc(g.plan.Files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// maxProvenance bounds the file before it is read, bytes.
const maxProvenance = 16 << 20

// ReadProvenance reads ProvenanceFile; fs.ErrNotExist means that the images are not grafted.
func ReadProvenance(fsys fs.FS) (*Provenance, error) {
	info, err := fs.Stat(fsys, ProvenanceFile)
	if err != nil {
		return nil, fmt.Errorf("graft %s: %w", ProvenanceFile, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("graft %s: it is a %v, want a regular file", ProvenanceFile, info.Mode().Type())
	}
	if info.Size() > maxProvenance {
		return nil, fmt.Errorf("graft %s: %d bytes, more than %d", ProvenanceFile, info.Size(), maxProvenance)
	}
	data, err := fs.ReadFile(fsys, ProvenanceFile)
	if err != nil {
		return nil, fmt.Errorf("graft %s: %w", ProvenanceFile, err)
	}
	p := &Provenance{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("graft %s: %w", ProvenanceFile, err)
	}
	if p.SchemaVersion != 1 {
		return nil, fmt.Errorf("graft %s: schema_version %d is not known here, want 1", ProvenanceFile,
			p.SchemaVersion)
	}
	if p.Mode != incremental && p.Mode != standAlone || len(p.Tasks) == 0 || len(p.Replaced) == 0 {
		return nil, fmt.Errorf("graft %s: mode %q, %d tasks, %d replaced images: no graft writes that",
			ProvenanceFile,
			p.Mode,
			len(p.Tasks), len(p.Replaced))
	}
	return p, nil
}
