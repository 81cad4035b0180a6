module github.com/crpie/crpie

go 1.26
