// Command generate writes the files that are made from the tables of internal/contract below the directory that it is
// given.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/crpie/crpie/internal/contract"
)

func main() {
	all, err := contract.Outputs()
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
