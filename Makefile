# The front door. `make` lists what it can do.
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

# Where cargo puts what it builds.
OUT := $(or $(CARGO_TARGET_DIR),target)
# Handed on to the program: make up ARGS="--listen 127.0.0.1:8080"
ARGS ?=
# Where a Docker engine answers, the servers of a test run are its containers.
DOCKER = $(shell docker info >/dev/null 2>&1 && echo --features marquee-testkit/docker)

.PHONY: components-before help up demo bench dist swap-proof chaos chaos-short seeded-bugs test fuzz test-containers sbom ci fmt fmt-check lint docs deny components test-components setup-up setup-test setup-ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# For a first try, on loopback: nobody is asked for a token, and every answer says so.
up: export SPIN_VARIABLE_AUTH ?= open
up: setup-up components ## Build and start what is missing, serve on 127.0.0.1:3000
	@cargo build --locked --release -p marquee
	@exec "$(OUT)/release/marquee" up $(ARGS)

demo: ## Load the sample and ratings into a running Marquee, and check what it serves
	@cargo build --locked --release -p marquee-import
	@exec "$(OUT)/release/marquee-import" demo $(ARGS)

bench: ## Measure a running Marquee next to a bare HTTP server (after make demo)
	@cargo build --locked --release -p marquee-bench
	@exec "$(OUT)/release/marquee-bench" requests $(ARGS)

dist: setup-up components ## Build the host and the benches as images have them, which takes long
	@cargo build --locked --profile dist -p marquee -p marquee-bench

swap-proof: setup-test components test-components components-before ## Swap versions under load: nothing may fail, be lost or be applied twice
	@cargo build --locked --release -p marquee -p marquee-bench
	@"$(OUT)/release/marquee-bench" swaps $(ARGS)
	@exec "$(OUT)/release/marquee-bench" chaos --fault swap --shared --minutes 2

chaos: setup-test test-components ## Let everything fail for half an hour under load; no acknowledged event may be lost, doubled or out of order
	@cargo build --locked --release -p marquee -p marquee-bench
	@exec "$(OUT)/release/marquee-bench" chaos $(ARGS)

# With the programs that the tests were built with.
chaos-short: setup-test test-components
	@cargo build --locked --workspace --bins
	@"$(OUT)/debug/marquee-bench" chaos --minutes 3 --bus embedded
	@"$(OUT)/debug/marquee-bench" chaos --minutes 3 --bus kafka

seeded-bugs: setup-test test-components ## Put bugs in on purpose, one at a time; each must be found (ARGS="--bug NAME")
	@cargo build --locked --workspace --bins
	@exec "$(OUT)/debug/marquee-bench" seeded $(ARGS)

# The first line builds with-servers too, with the same features as the tests, so that nothing is built twice.
test: setup-test components test-components components-before ## Run every test, over real servers
	@cargo test --locked --workspace $(DOCKER) --no-run
	@exec "$(OUT)/debug/with-servers" cargo test --locked --workspace --no-fail-fast $(DOCKER) $(ARGS)

fuzz: setup-test ## Give whatever reads what others wrote so many mangled inputs (ARGS=NUMBER, 100,000 by default)
	@PROPTEST_CASES=$(or $(ARGS),100000) cargo test --locked --workspace --no-fail-fast whatever_comes

# Not part of ci, whose machine has no engine.
test-containers: setup-test ## Tests with servers in containers, the image and compose.yaml; needs Docker (ARGS=servers or compose)
	@scripts/test-containers $(ARGS)

sbom: ## What the host and the components are made of, as CycloneDX, to target/sbom
	@scripts/sbom

ci: setup-ci fmt-check lint docs deny test chaos-short ## All that must hold before a change is merged

fmt: ## Format the code
	@cargo fmt --all

fmt-check:
	@cargo fmt --all --check

lint: ## Clippy, warnings denied
	@cargo clippy --locked --workspace --all-targets -- -D warnings
	@cargo clippy --locked -p marquee-testkit --features docker -- -D warnings
	@cargo clippy --locked --workspace --lib --bins --features marquee-database/seeded-bugs -- -D warnings

docs: ## Build the code's documentation, warnings denied
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

deny: ## Licences, bans and sources of dependencies; advisories where they can be fetched
	@scripts/deny

components: setup-up ## Build the components to target/wasm32-wasip2/guest
	@scripts/components

components-before: setup-up
	@scripts/components --before

test-components:
	@scripts/components --tests

clean: ## Remove what was built; data under .marquee stays
	@cargo clean

setup-up setup-test setup-ci:
	@scripts/setup $(@:setup-%=%)
