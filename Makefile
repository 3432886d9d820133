# Thin on purpose: every target is what you would type yourself. `make` lists them.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
LOCK := uv pip compile --quiet --universal --python-version 3.10 --extra dev \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-strip-extras

.DEFAULT_GOAL := help
.PHONY: help setup lock models

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/ready ## build .venv with the locked packages and the tradehouse command

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## resolve requirements.lock again (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.lock
