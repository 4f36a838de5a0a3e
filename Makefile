# `make` alone says what there is. Every target prepares what it needs by itself.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

SCENARIOS ?= default debian alternative panda_server
ROUNDS ?= 3

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help venv venv-for-tests demo demo-clean test test-fleet lint unit molecule bench bench-app bench-onboard bench-payload soak wheelhouse docs lock clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## Prepare .venv with the pinned tools, and the collections
	@tools/bootstrap

venv-for-tests:
	@tools/bootstrap --for-tests

demo: venv ## Provision one bare EL9 node in a container and show that it is alive
	@python tools/demo.py up

demo-clean: venv ## Remove all that `make demo` made
	@python tools/demo.py down

test: venv-for-tests ## Run every check: lint, unit, and the molecule scenarios
	@python tools/run_stages.py lint unit $(SCENARIOS:%=molecule-%)

test-fleet: venv-for-tests ## Run what a fleet is tried with: six hosts under load, and what goes wrong (25 to 40 minutes)
	@python tools/run_stages.py molecule-fleet

lint: venv ## Run ansible-lint, yamllint, ruff, mypy, shellcheck and our own checks
	@tools/lint

unit: venv-for-tests ## Run the unit tests of plugins, templates, tools and app
	@python tools/run_stages.py unit

molecule: venv ## Run the molecule scenarios (SCENARIOS="default debian" chooses)
	@python tools/run_stages.py $(SCENARIOS:%=molecule-%)

bench: venv ## Measure bare node to alive beside a plain shell script (ROUNDS=3)
	@python tests/bench/run.py --rounds $(ROUNDS)

bench-onboard: venv ## Measure how long a bare node takes into a fleet of 3 and of 9
	@python tests/bench/onboard.py

bench-app: venv-for-tests ## Measure requests per second of the application on PostgreSQL (needs wrk)
	@python tests/bench/app/run.py --workers 1 2 4

bench-payload: venv ## Measure the public package beside Apache + mod_wsgi as documented (needs wrk; 10 minutes)
	@python tests/bench/payload/run.py

soak: venv-for-tests ## Run 10,000 jobs by 32 pilots while workers are killed at random (5 minutes)
	@PANDA_SOAK_JOBS=10000 PANDA_SOAK_PILOTS=32 PANDA_SOAK_WORKERS=4 pytest --quiet app/tests/test_soak.py

wheelhouse: venv ## Build the archive of wheels that a node's release is made from, and print its path
	@python tools/wheelhouse.py

docs: venv ## Write the README of each role anew from its argument_specs
	@python tools/role_docs.py write

lock: venv ## Pin the tools of requirements/*.in anew, by hash
	@tools/lock

clean: ## Remove .venv and what the caches hold, except test nodes: `make demo-clean` removes those
	@rm -rf .venv .cache/collections .cache/test-results .mypy_cache .pytest_cache .ruff_cache
