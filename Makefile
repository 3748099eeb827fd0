# Everything a person or CI does with the source, in one place. Each target installs what it lacks.
#
#   make demo ARGS="--for 60s"   live traffic through both layers, checked as you watch
#   make quick                   the tests that need no service and no process, under a minute after a build
#   make test                    all tests (FILTER=name for some of them)
#   make chaos KILLS=500         processes killed, stopped, doubled and given other definitions (CHANGES=500) under load
#   make sim SEEDS=100000        whole systems in virtual time under seeded faults, as many seeds as asked for (from FIRST=n on)
#   make fuzz TIMES=100          what was written, sent or stored, and then damaged: so many times the seeds of `make test`
#   make upgrade OLD=BINARY      roles of an older build replaced one by one by this one, on real parts
#   make bench ARGS="recompute"  figures beside their limits, embedded parts beside real ones, all or one section
#   make release                 the binary as it is shipped, all of it optimised
#   make dist                    an archive, a Debian package and a Python wheel of it, with checksums, in dist/
#   make services-up             real Kafka, Redis and S3 to try things on (make services-down ends them)
#   make check                   formatting, lints, documentation, dependencies
#   make clean                   forget what was built

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One build folder for every clone on the machine: the query engine is compiled once.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/twofold/target
CARGO ?= cargo
ARGS ?=
FILTER ?=
KILLS ?= 500
CHANGES ?= 50
FIRST ?= 0
SEEDS ?= 20000
TIMES ?= 20
SEED ?= $(shell echo $$RANDOM)
OLD ?=

# Where `services-up` keeps addresses, logs and data. Tests use a scratch folder of their own.
SERVICES := $(HOME)/.cache/twofold/services

.PHONY: help demo quick test chaos sim fuzz upgrade bench release dist check fmt clean tools services services-up services-down

help:
	@sed -n '3,17s/^# \{0,1\}//p' Makefile

demo: tools
	$(CARGO) build --locked --workspace --bins
	"$$CARGO_TARGET_DIR/debug/twofold" demo $(ARGS)

# Lets a test end a role at a named write (twofold/src/fail_points.rs). In what runs tests only; it recompiles
# the crates from event-log on.
FAIL_POINTS := --features twofold/failpoints

IT := $(CARGO) test --locked --workspace $(FAIL_POINTS) --test it --
# These take the whole machine, or stop processes for longer than others should have to wait: each test runs alone, after all others.
SWEEP := simulation::every
ALONE := $(SWEEP) real::backlog real::workflow chaos:: workflow_processes::
TESTS = $(if $(FILTER),$(IT) $(FILTER),$(IT) $(ALONE:%=--skip %) $(foreach suite,$(ALONE),; $(IT) $(suite) --test-threads 1))

# Suites of tests/it that use Kafka, Redis and S3 where those run: without one of them among the chosen tests they are not
# started. Then the suites that `make quick` leaves out, since they need services, start processes, or are long, and single
# tests of others that take more than five seconds. A test (tests/it/tidy/suites.rs) finds suites that belong
# into one of the first two lists and stand in none, and names in any that nothing bears.
WITH_SERVICES := chaos:: compose:: doctor::services erasing:: event_log::kafka lake:: operator:: overload:: real:: \
  real_input:: recovery:: system:: upgrade::
NOT_QUICK := access::process alerts:: chaos:: cli:: compose:: differential:: dist:: doctor::command doctor::services \
  erasing:: event_log::disk event_log::kafka event_log::kill event_log::mock feeds:: hostile:: import:: notify::sending:: \
  operator:: overload:: private_files::process real:: real_input:: realtime_store:: recovery:: secrets::process simulation:: system:: \
  tls::process upgrade:: workflow_processes:: view_tests::command
SLOW := \
  batch::archive::whichever_call_fails_the_archive_holds_every_record_and_hole_once \
  batch::compaction::a_compaction_at_any_moment_changes_no_answer \
  batch::elsewhere::data::requests_of_a_web_server_are_computed_alike \
  batch::elsewhere::data::wikipedia_edits_are_computed_alike \
  batch::elsewhere::machines::a_lost_executor_costs_time_and_nothing_is_published_twice \
  batch::elsewhere::machines::two_executors_compute_all_measures_of_the_law_as_one_worker_does \
  batch::erase::whichever_call_fails_the_next_one_goes_on \
  batch::fold::a_folding_that_failed_anywhere_is_repeated_safely \
  batch::recompute::copies_that_fill_more_than_the_memory_count_once \
  batch::recompute::full_and_incremental_give_equal_tables_and_counters \
  batch_views::any_history_equals_a_map \
  collector::encodings::a_bomb_is_never_inflated_beyond_the_limit \
  event_log::embedded::a_folder_is_held_by_one_log_at_a_time \
  event_log::erase::a_folder_that_is_held_is_left_alone \
  gateway::sql_limits::joins_and_windows_without_end_stop_at_a_limit \
  law::cases::ordered_and_unbounded_measures_merge_to_the_direct_answer \
  law::columns::views_over_every_type_of_column_run_in_both_layers_and_sum_up \
  law::failures::a_failing_row_is_null_in_two_phases_too \
  law::states::damaged_sketches_are_errors \
  speed::a_worker_killed_anywhere_counts_each_event_once \
  topology::faults_while_a_source_stops_starts_and_changes_cost_no_event \
  topology::registry::the_registry_says_what_is_being_built_until_it_answers_completely \
  topology::troubles::a_source_that_stops_in_one_process_is_told_of_and_takes_nothing_in_another

# What also runs on services, if there are any, runs without; under CI it would call their absence a failure.
quick: tools
	$(CARGO) test --locked --package positions
	env --unset CI $(IT) $(patsubst %,--skip %,$(NOT_QUICK) $(SLOW))

# The tests start the `twofold` binary as a black box, so it is built before them. Always the whole workspace: with
# `--package` features would be fewer, and crates would be compiled once more for them; for `positions` that is seconds.
# Everything is built before Kafka, Redis and S3 are started, and those are ended whatever becomes of the tests.
test: tools services
	$(CARGO) build --locked --workspace $(FAIL_POINTS)
	$(CARGO) test --locked --workspace $(FAIL_POINTS) --test it --no-run
	$(if $(FILTER),,$(CARGO) test --locked --package positions)
	chosen=$$($(IT) $(FILTER) --list); beside=; \
	for suite in $(WITH_SERVICES); do ! grep -q "^$$suite" <<<"$$chosen" || beside=scripts/with-services.sh; done; \
	$$beside bash -euc '$(TESTS)'

# The part of `make test` that breaks things, for longer, with a seed of its own (SEED=n repeats a run).
chaos: tools services
	$(CARGO) build --locked --workspace $(FAIL_POINTS)
	$(CARGO) test --locked --workspace $(FAIL_POINTS) --test it --no-run
	TWOFOLD_CHAOS_KILLS=$(KILLS) TWOFOLD_CHAOS_CHANGES=$(CHANGES) TWOFOLD_CHAOS_SEED=$(SEED) \
	  scripts/with-services.sh $(CARGO) test --locked --workspace $(FAIL_POINTS) --test it -- chaos:: --nocapture

# In the release profile, where a world takes a fraction of the time: the longer build pays from some thousand seeds on.
sim: tools
	TWOFOLD_SIM_FIRST=$(FIRST) TWOFOLD_SIM_SEEDS=$(SEEDS) \
	  $(CARGO) test --locked --workspace --release $(FAIL_POINTS) --test it -- --nocapture $(SWEEP)

# Whatever reads bytes that others wrote. In the profile of `sim`, from the seed FIRST on; one again: TWOFOLD_SEED=n make test.
FUZZ := blob:: collector::fuzz:: decode::faults:: decode::grammar:: event_log::damage:: gateway::fuzz:: hostile:: \
  lake_damage:: law::sketches:: load::damage:: pipeline::fuzz:: tokens::

# Hostile requests are sent to a process.
fuzz: tools
	$(CARGO) build --locked --workspace --release --bins $(FAIL_POINTS)
	TWOFOLD_SEED_FIRST=$(FIRST) TWOFOLD_SEED_TIMES=$(TIMES) \
	  $(CARGO) test --locked --workspace --release $(FAIL_POINTS) --test it -- $(FUZZ)

# What `make test` passes over where there is no older build.
upgrade: tools services
	@[ -x "$(OLD)" ] || { echo "name a built twofold of an older version: make upgrade OLD=BINARY" >&2; exit 2; }
	$(CARGO) build --locked --workspace $(FAIL_POINTS)
	$(CARGO) test --locked --workspace $(FAIL_POINTS) --test it --no-run
	TWOFOLD_TEST_OLD_BINARY="$(abspath $(OLD))" scripts/with-services.sh $(IT) upgrade::rolling --nocapture

# In the release profile.
bench: tools services
	$(CARGO) build --locked --workspace --release --bins
	$(CARGO) bench --locked --workspace --bench bench --no-run
	scripts/with-services.sh $(CARGO) bench --locked --workspace --bench bench -- $(ARGS)

# What the Dockerfile runs. OpenSSL and zlib are linked in, so that the binary runs on any machine with a C library of its age.
release:
	@scripts/install-tools.sh release
	$(CARGO) build --locked --workspace --release --bins --features twofold/vendored

dist: release
	scripts/dist.sh "$$CARGO_TARGET_DIR/release/twofold" dist

check: tools
	@scripts/install-tools.sh check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace $(FAIL_POINTS) --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps
	scripts/deny.sh check

fmt: tools
	$(CARGO) fmt --all

clean:
	rm -rf "$$CARGO_TARGET_DIR"

tools:
	@scripts/install-tools.sh build

services:
	@scripts/install-tools.sh services

services-up:
	@scripts/services.sh up "$(SERVICES)"
	@cat "$(SERVICES)/env"

services-down:
	@scripts/services.sh down "$(SERVICES)"
