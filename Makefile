# Thin on purpose: every target is what you would type yourself. `make` lists them.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
DEMO := .tradehouse/demo
# The demo has its own .env; what the shell exports for a real warehouse must not reach it.
IN_DEMO := cd $(DEMO) && env -u SQLITE_PATH -u POSTGRESQL_URI -u TRADEHOUSE_HOME ../../$(BIN)/tradehouse
ANSWERS := dbt_project/functions/api dbt_project/functions/accounts dbt_project/functions/market $(wildcard dbt_project/functions/*/api)
# All SQL but most of the candles, where the first symbol stands for all, as generate_models.py --check makes sure, and
# but functions that sqlfluff cannot parse: bodies in plpgsql, and `offset 0` behind a select without a table.
LINTED_SQL := $(firstword $(wildcard dbt_project/models/staging/mt5/stg_mt5__*.sql)) \
              $(firstword $(wildcard dbt_project/models/marts/candles/*/)) \
              $(filter-out %/mt5/,$(wildcard dbt_project/models/staging/*/)) \
              $(filter-out %/candles/,$(wildcard dbt_project/models/marts/*/)) \
              $(filter-out %/staging/ %/marts/,$(wildcard dbt_project/models/*/)) \
              $(shell grep --recursive --files-without-match --line-regexp begin --include '*.sql' $(ANSWERS)) \
              dbt_project/data-tests macros/tests $(wildcard sql/staging) \
              sql/warehouse.sql sql/partitions.sql sql/api_keys.sql sql/roles.sql sql/timescaledb_setup.sql
PROFILES := .tradehouse/profiles
LOCK := uv pip compile --quiet --universal --python-version 3.10 \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-strip-extras

.DEFAULT_GOAL := help
.PHONY: help setup demo run test quick check docs bench models lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/ready ## build .venv with the locked packages and the tradehouse command

.venv/ready: requirements-dev.lock pyproject.toml
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## sample SQLite file, private Postgres, one run, all tables, the HTTP API
	@mkdir -p $(DEMO)
	@printf '%s\n' 'SQLITE_PATH=trading_data.db' 'TRADEHOUSE_HOME=.' 'POSTGRESQL_URI=embedded' > $(DEMO)/.env
	@$(IN_DEMO) demo-data trading_data.db --days 40 --keep
	@$(IN_DEMO) sync
	@$(IN_DEMO) status || { test $$? -eq 1 && \
	    echo 'Behind, for the sample ends when it was made. A new one: stop the warehouse, rm -r $(DEMO)'; }
	@address=$$( ($(IN_DEMO) serve --background 2>/dev/null) || ($(IN_DEMO) serve --background --port 0) ) && \
	    echo && echo "Charts: $$address/chart/EURUSD/H1     HTTP API: $$address/api/indicators/EURUSD/H1"
	@echo
	@echo 'Try next:'
	@uri=$$($(IN_DEMO) warehouse uri) && echo "  psql \"$$uri\" -c 'SELECT COUNT(*) FROM eurusd_h1;'"
	@echo '  cd $(DEMO) && ../../$(BIN)/tradehouse sync --test    # every dbt test'
	@echo '  cd $(DEMO) && ../../$(BIN)/tradehouse serve --stop   # the demo leaves its API running'
	@echo '  cd $(DEMO) && ../../$(BIN)/tradehouse warehouse stop # and its Postgres'

run: setup ## one run with the settings of the environment and .env
	$(BIN)/tradehouse sync

test: setup check ## everything: linters, types, dbt parse, unit and integration tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --durations 25

quick: setup ## the tests that need no server, and ruff: half a minute
	$(BIN)/python -m ruff check .
	$(BIN)/python -m pytest -q -n 2 -p no:schemathesis tests/unit

check: setup ## linters, types, generated files, dbt parse
	@mkdir -p $(PROFILES) && cp profiles.yml.example $(PROFILES)/profiles.yml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python dbt_project/generate_models.py --check
	$(BIN)/python docs/generate_settings.py --check
	$(BIN)/python docs/generate_dependencies.py --check
	$(BIN)/sqlfluff lint --disable-progress-bar --processes 2 $(LINTED_SQL)
	$(BIN)/sqlfluff lint --disable-progress-bar --dialect sqlite --templater raw --exclude-rules CP02 \
	    sql/sqlite_schema.sql
	PGHOST=- PGUSER=- PGDATABASE=- $(BIN)/dbt --quiet --warn-error parse --project-dir dbt_project \
	    --profiles-dir $(PROFILES) --target-path "$(CURDIR)/.tradehouse/check" --no-partial-parse

docs: setup ## dbt docs with lineage, as one file: dbt_project/target/static_index.html
	eval "$$($(BIN)/tradehouse env)" && export DBT_TARGET_PATH=target && cd dbt_project && \
	    ../$(BIN)/dbt docs generate --static

bench: setup ## measure beside the plain script, pgloader and dlt; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.matching

models: setup ## write the generated files again: models, docs/settings.md, docs/dependencies.md
	$(BIN)/python dbt_project/generate_models.py
	$(BIN)/python docs/generate_settings.py
	$(BIN)/python docs/generate_dependencies.py

lock: ## resolve the three lock files again (needs uv): all packages first, then parts of them
	$(LOCK) pyproject.toml --extra dev --output-file requirements-dev.lock
	$(LOCK) pyproject.toml --constraints requirements-dev.lock --output-file requirements.lock
	$(LOCK) --group build --constraints requirements-dev.lock --output-file requirements-build.lock
