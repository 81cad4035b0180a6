# SPDX-License-Identifier: Apache-2.0
# make help lists the targets.

GO        ?= go
PREFIX    ?= /usr/local
DESTDIR   ?=
FUZZTIME  ?= 20s
# Packages side by side, each in namespaces of its own; one at a time where that is not possible.
TESTFLAGS ?= $(shell scripts/in-namespaces --flags) -timeout 60m
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOTESTSUM = gotest.tools/gotestsum@v1.13.0

help: ## List the targets (default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) FUZZTIME=$(FUZZTIME) TESTFLAGS='$(TESTFLAGS)' VERSION=$(VERSION)"

build: ## Build ./crpie (needs only Go)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o build/crpie ./cmd/crpie
	install -m 755 build/crpie crpie # the page cache holds a copy in larger pieces than what the linker wrote: starts 0.4 ms sooner

plugins: ## Build the ready plugins and the examples
	$(MAKE) -s -C plugins crpie-plugins
	$(MAKE) -s -C plugin-sdk/examples crpie-plugins

core: ## Rebuild the committed objects of the cores
	$(MAKE) -C restorer/core
	$(MAKE) -C graft/core
	$(MAKE) -C inject/core

core-check: ## Fail if the committed objects are not what their sources build
	$(MAKE) -C restorer/core check
	$(MAKE) -C graft/core check
	$(MAKE) -C inject/core check

# Tests run in namespaces without a network. One that misses a CRIU says so.
deps: ## Install what the tests need (Debian packages), fetch the CRIUs of Debian trixie and sid
	scripts/install-test-deps
	-scripts/get-criu
	-CRIU_SUITE=sid scripts/get-criu .cache/criu-sid

# What fails is run again by itself, once, and shown even if it passes then: see CONTRIBUTING.md.
test: deps ## Vet and test everything; the restore tests need root
	$(GO) vet ./...
	$(GO) run $(GOTESTSUM) --format pkgname-and-test-fails --format-icons text --rerun-fails=1 --packages ./... -- $(TESTFLAGS)

demo: build ## Dump a running program with CRIU, restore it with a plugin, show what changed
	scripts/demo.sh

bench: build ## crpie restore and criu restore of the same images, interleaved; crpie link and linkers; pauses of crpie try
	scripts/bench
	scripts/bench-link ./crpie
	scripts/bench-try

oracle: ## Place libraries' objects with crpie and with real linkers, compare every byte
	scripts/oracle

lint: ## gofmt, vet, staticcheck, shellcheck, portability of the pure packages
	scripts/lint $(STATICCHECK)

fuzz: ## Run each fuzz target for FUZZTIME
	scripts/fuzz $(FUZZTIME)

cover: ## Test with coverage; writes build/cover.html
	mkdir -p build
	$(GO) test $(TESTFLAGS) -coverpkg=./... -coverprofile=build/cover.out ./...
	$(GO) tool cover -html=build/cover.out -o build/cover.html
	$(GO) tool cover -func=build/cover.out | tail -1

install: build ## Install binary, plugin SDK, man pages and completions below DESTDIR/PREFIX
	install -D -m 755 crpie $(DESTDIR)$(PREFIX)/bin/crpie
	install -d $(DESTDIR)$(PREFIX)/lib/crpie
	ln -sfn ../../bin/crpie $(DESTDIR)$(PREFIX)/lib/crpie/criu # for container runtimes, and not in PATH: docs/containers.md
	install -d $(DESTDIR)$(PREFIX)/include/crpie $(DESTDIR)$(PREFIX)/share/crpie/examples
	install -m 644 plugin-sdk/include/crpie/*.h $(DESTDIR)$(PREFIX)/include/crpie/
	install -m 644 plugin-sdk/plugin.mk $(DESTDIR)$(PREFIX)/share/crpie/
	install -d $(DESTDIR)$(PREFIX)/share/crpie/rust/src
	install -m 644 plugin-sdk/rust/Cargo.toml $(DESTDIR)$(PREFIX)/share/crpie/rust/
	install -m 644 plugin-sdk/rust/src/*.rs $(DESTDIR)$(PREFIX)/share/crpie/rust/src/
	cd plugin-sdk/examples && install -m 644 *.c *.h *.S *.cpp *.rs $(abspath $(DESTDIR)$(PREFIX))/share/crpie/examples/
	install -d $(DESTDIR)$(PREFIX)/share/crpie/examples/resident
	install -m 644 plugin-sdk/examples/resident/* $(DESTDIR)$(PREFIX)/share/crpie/examples/resident/
	sed 's|/usr/local|$(PREFIX)|' plugin-sdk/examples/Makefile > $(DESTDIR)$(PREFIX)/share/crpie/examples/Makefile
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' plugin-sdk/crpie-plugin.pc.in \
		> $(DESTDIR)$(PREFIX)/lib/pkgconfig/crpie-plugin.pc
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -D -m 644 completions/crpie.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/crpie
	install -D -m 644 completions/_crpie $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_crpie
	install -D -m 644 completions/crpie.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/crpie.fish

install-plugins: install ## Install, also the ready plugins, and build the examples there (needs a C compiler)
	$(MAKE) -s -C plugins crpie-plugins
	install -m 644 plugins/*.o $(DESTDIR)$(PREFIX)/lib/crpie/
	$(MAKE) -s -C $(DESTDIR)$(PREFIX)/share/crpie/examples crpie-plugins

clean: ## Remove what the other targets built
	rm -rf crpie build
	$(MAKE) -s -C plugins clean
	$(MAKE) -s -C plugin-sdk/examples clean

.PHONY: help build plugins core core-check deps test demo bench oracle lint fuzz cover install install-plugins clean
