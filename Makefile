# The verbs of Citewell. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)/bin/uv)
ARGS ?=
# Trust the machine's certificates, as pip does: networks with a certificate of their own need it.
export UV_SYSTEM_CERTS := 1
# Compiled modules are kept: without them each process that starts compiles a thousand anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.installed ## Make the private environment from the lock file

.PHONY: demo
demo: setup ## Ingest the examples, answer their questions, check every citation
	@$(BIN)/citewell demo $(ARGS)

.PHONY: up
up: setup ## Serve http://127.0.0.1:8000 on a lasting data folder (ARGS="--data DIR --port N")
	@$(BIN)/citewell up $(ARGS)

.PHONY: test
test: $(VENV)/.developing ## Run all tests (about 10 minutes on 2 cores)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.developing ## Kill, starve and poison a running Citewell; show what was lost (ARGS="--kills N --seed N")
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

.PHONY: check
check: $(VENV)/.developing ## Check format, lint, types and import rules
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.developing ## Format the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

.PHONY: bench
bench: $(VENV)/.developing ## Measure the embedder, ingestion, search and many clients (ARGS="--beir DIR")
	@$(BIN)/python -m bench.embed
	@$(BIN)/python -m bench.scifact $(ARGS)
	@$(BIN)/python -m bench.concurrency $(ARGS)
	@$(BIN)/python -m bench.search

.PHONY: quality
quality: $(VENV)/.developing ## Measure search and answers on public data or the examples; try the gate
	@$(BIN)/python -m bench.quality $(ARGS)
	@$(BIN)/python -m bench.gate_mutations

.PHONY: build
build: $(VENV)/.developing ## Build the wheel into dist/
	@$(UV) build --wheel --out-dir dist

.PHONY: clean
clean: ## Remove the environment and what was built; data folders stay
	@rm -rf $(VENV) dist

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "Python is not installed. Install Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 15)))' || { \
		echo "Citewell needs Python 3.11 to 3.14. Name one: make $(MAKECMDGOALS) PYTHON=python3.12"; \
		exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || command -v uv >/dev/null || { \
		echo "Python's venv module is missing. Install it (Debian, Ubuntu: apt install python3-venv)"; \
		echo "or install uv, then run make again."; exit 1; }
	@if command -v uv >/dev/null; then uv venv --quiet --python $(PYTHON) $(VENV); \
		else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; fi

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml uv.lock
	@echo "Installing Citewell into $(VENV) …"
	@$(UV) sync --quiet --locked --no-dev --inexact
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	@$(UV) sync --quiet --locked --inexact
	@touch $@
