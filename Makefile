# Everything a person or CI does with the source, in one place. Each target installs what it lacks.
#
#   make demo ARGS="--for 60s"   live traffic through both layers, checked as you watch
#   make test                    all tests (FILTER=name for some of them)
#   make sim SEEDS=100000        whole systems in virtual time under seeded faults, as many seeds as asked for
#   make bench ARGS="recompute"  figures beside their limits, all or one section
#   make check                   formatting, lints, documentation
#   make clean                   forget what was built

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One build folder for every clone on the machine: the query engine is compiled once.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/twofold/target
CARGO ?= cargo
ARGS ?=
FILTER ?=
SEEDS ?= 20000

.PHONY: help demo test sim bench check fmt clean tools services

help:
	@sed -n '3,9s/^# \{0,1\}//p' Makefile

demo: tools
	$(CARGO) build --locked --workspace --bins
	"$$CARGO_TARGET_DIR/debug/twofold" demo $(ARGS)

# The tests start the `twofold` binary as a black box, so it is built before them. Always the whole workspace: with
# `--package` features would be fewer, and crates would be compiled once more for them.
test: tools services
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --workspace --test it -- $(FILTER)

sim: tools
	TWOFOLD_SIM_SEEDS=$(SEEDS) $(CARGO) test --locked --workspace --test it -- --nocapture simulation::every

# The profile of demo and tests: libraries optimised, no second build of the query engine.
bench: tools services
	$(CARGO) build --locked --workspace
	$(CARGO) bench --locked --profile dev --workspace --bench bench -- $(ARGS)

check: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps

fmt: tools
	$(CARGO) fmt --all

clean:
	rm -rf "$$CARGO_TARGET_DIR"

tools:
	@scripts/install-tools.sh build

services:
	@scripts/install-tools.sh services
