//go:build !linux

package main

import "os"

func nameless(string, func(*os.File) error) (done bool, err error) { return false, nil }
