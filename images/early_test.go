package images

import (
	"fmt"
	"io/fs"
	"reflect"
	"testing"
	"testing/fstest"
)

// quickFS opens nothing that could make it wait.
type quickFS struct{ fstest.MapFS }

func (q quickFS) OpenAndStat(name string) (fs.File, fs.FileInfo, error) {
	file, err := q.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	return file, info, err
}

// What is decoded early is what would have been decoded in its turn, and so are the problems.
func TestDecodedEarly(t *testing.T) {
	defer func(before int) { manyImages = before }(manyImages)
	manyImages = 1
	dir := sample(t, "tree")
	sameOpened(t, "whole", dir)
	for _, file := range fileNames(dir) {
		whole := dir[file]
		dir[file] = &fstest.MapFile{Data: whole.Data[:len(whole.Data)/2]}
		sameOpened(t, "half of "+file, dir)
		delete(dir, file)
		sameOpened(t, "without "+file, dir)
		dir[file] = whole
	}
}

func sameOpened(t *testing.T, what string, dir fstest.MapFS) {
	t.Helper()
	want, wantErr := Open(dir)
	got, err := Open(quickFS{dir})
	if got != nil {
		got.FS = dir
	}
	if !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Errorf("%s: %v, want %v", what, err, wantErr)
	}
}
