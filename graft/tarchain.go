package graft

import (
	"archive/tar"
	"fmt"
	"maps"
	"path"
)

// findImages takes the folder of inventory.img: checkpoint/ in what podman and CRI-O write. Incremental images have a
// link "parent" to another folder, which may have one in turn. A parent that is not in the archive is brought by
// whoever restores it, podman container restore --import-previous.
func (t *tarball) findImages() error {
	folders, links := t.folders()
	tops := maps.Clone(folders)
	for folder := range folders {
		delete(tops, links[folder])
	}
	if len(folders) == 0 || len(tops) != 1 {
		return fmt.Errorf("it has %d files inventory.img, expected one, or those of one chain of links \"parent\"", len(folders))
	}
	for top := range tops {
		t.prefix = top
	}
	if err := t.listImages(); err != nil {
		return err
	}
	reached := 1
	for at := links[t.prefix]; folders[at] && reached < len(folders); at = links[at] {
		parent := &tarball{file: t.file, entries: t.entries, prefix: at}
		if err := parent.listImages(); err != nil {
			return err
		}
		t.parents = append(t.parents, parent)
		reached++
	}
	if reached != len(folders) {
		return fmt.Errorf("it has %d files inventory.img, of which %d are in one chain of links \"parent\"",
			len(folders), reached)
	}
	return nil
}

// folders gives those with an inventory.img, and where their links "parent" lead.
func (t *tarball) folders() (folders map[string]bool, links map[string]string) {
	folders, links = map[string]bool{}, map[string]string{}
	for i := range t.entries {
		e := &t.entries[i]
		switch name := path.Clean(e.Name); {
		case path.Base(name) == "inventory.img":
			folders[path.Dir(name)] = true
		case path.Base(name) == "parent" && e.Typeflag == tar.TypeSymlink && !path.IsAbs(e.Linkname):
			links[path.Dir(name)] = path.Join(path.Dir(name), e.Linkname)
		}
	}
	return folders, links
}

// listImages finds what is below the prefix.
func (t *tarball) listImages() error {
	t.images = map[string]*tarEntry{}
	for i := range t.entries {
		name, ok := t.image(&t.entries[i])
		if ok && t.images[name] != nil {
			return fmt.Errorf("%q occurs twice", t.entries[i].Name)
		}
		if ok {
			t.images[name] = &t.entries[i]
		}
	}
	return nil
}
