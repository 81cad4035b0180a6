# SPDX-License-Identifier: Apache-2.0
# Building PIE plugins with GNU make. In a makefile of your own:
#
#	CRPIE_PLUGIN = hook.o
#	include /usr/local/share/crpie/plugin.mk
#
# builds hook.o from hook.c, hook.S, hook.cpp or hook.rs. CC, CXX, RUSTC, CFLAGS and CXXFLAGS are yours; the flags below
# come after them, because an object that lacks one of them is refused. A plugin of several objects is joined with
# `$(LD) -r -o hook.o a.o b.o`.
#
#	CRPIE_TEST = hook_test
#	hook_test: hook.c
#
# `make crpie-tests` then builds hook_test from hook_test.c (or .cpp), which begins with <crpie/test.h> and includes the
# plugin, with sanitizers, and runs it. With "hook_test: hook.o" that object is linked to it: a plugin in assembly or
# Rust.
#
# With "CRPIE_RUST = crate" before the include, .rs files are plugins that use the crate crpie beside this file.

CRPIE_SDK_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
# Beside the headers in a source tree, or installed as PREFIX/share/crpie with PREFIX/include.
CRPIE_INCLUDE ?= $(firstword $(wildcard $(CRPIE_SDK_DIR)/include $(CRPIE_SDK_DIR)/../../include))

CRPIE_MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))

CRPIE_CFLAGS := -fPIC -ffreestanding -fvisibility=hidden -fno-stack-protector -fno-common \
	-fno-asynchronous-unwind-tables -fno-unwind-tables -fno-lto -U_FORTIFY_SOURCE -I$(CRPIE_INCLUDE)
ifeq ($(CRPIE_MACHINE),x86_64)
CRPIE_CFLAGS += -fcf-protection=none
endif
ifeq ($(CRPIE_MACHINE),aarch64)
CRPIE_CFLAGS += -mno-outline-atomics
endif
CRPIE_CXXFLAGS := $(CRPIE_CFLAGS) -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-use-cxa-atexit
CRPIE_RUSTFLAGS := --edition=2021 -O -C panic=abort -C codegen-units=1 -C relocation-model=pic
CRPIE_CRATE ?= $(firstword $(wildcard $(CRPIE_SDK_DIR)/rust))

CFLAGS ?= -O2 -g -Wall -Wextra
CXXFLAGS ?= $(CFLAGS)
RUSTC ?= rustc
RUSTFLAGS ?= -g

# Of an ordinary program. Errors end it: a test that only prints them has passed.
CRPIE_TESTFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -I$(CRPIE_INCLUDE)

crpie-plugins: $(CRPIE_PLUGIN)

crpie-tests: $(CRPIE_TEST)
	@for test in $(CRPIE_TEST); do echo ./$$test; ./$$test || exit 1; done
.PHONY: crpie-plugins crpie-tests

%.o: %.c
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CRPIE_CFLAGS) -c -o $@ $<

%.o: %.S
	$(CC) $(CPPFLAGS) -I$(CRPIE_INCLUDE) -c -o $@ $<

%.o: %.cpp
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(CRPIE_CXXFLAGS) -c -o $@ $<

ifeq ($(CRPIE_RUST),crate)
# Link-time optimisation takes in what is used of the crate and of core; ld takes that out of the library, in which
# rustc puts all of its own functions for the machine, too.
%.o: %.rs libcrpie.rlib
	$(RUSTC) $(RUSTFLAGS) $(CRPIE_RUSTFLAGS) -C lto=fat --crate-type=staticlib --extern crpie=libcrpie.rlib -o lib$*.a $<
	$(LD) -r -u CRPIE_THIS_PLUGIN -o $@ lib$*.a
	@rm lib$*.a

libcrpie.rlib: $(wildcard $(CRPIE_CRATE)/src/*.rs)
	$(RUSTC) $(RUSTFLAGS) $(CRPIE_RUSTFLAGS) --crate-name=crpie --crate-type=rlib -o $@ $(CRPIE_CRATE)/src/lib.rs
else
%.o: %.rs
	$(RUSTC) $(RUSTFLAGS) $(CRPIE_RUSTFLAGS) --emit=obj --crate-type=lib -o $@ $<
endif

%_test: %_test.c
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CRPIE_TESTFLAGS) $(LDFLAGS) -o $@ $(filter %_test.c %.o,$^)

%_test: %_test.cpp
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(CRPIE_TESTFLAGS) $(LDFLAGS) -o $@ $(filter %_test.cpp %.o,$^)
