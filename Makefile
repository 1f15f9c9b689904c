# `make` alone lists the targets. Everything runs from .venv, which is built when it is missing or out of date.

PYTHON ?= $(shell command -v python3.12 || command -v python3.13 || command -v python3 || echo python3)
BIN := .venv/bin
READY := .venv/.ready
CONFIG ?= node_configs/paper.json
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup paper backtest test check format controls schema bench prove mutation stress soak-rate wheel compose-check lock clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## build .venv: pinned packages with hashes, then this project, editable

$(READY): requirements.lock pyproject.toml nautilus_ext/python_version.py
	@$(PYTHON) -c "import runpy; runpy.run_path('nautilus_ext/python_version.py')['require_python']()"
	@echo "building .venv (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

paper: $(READY) ## paper trading on a simulated market: no network, no server, no key (CONFIG=… for another file)
	@$(BIN)/python -m nautilus_ext.run $(CONFIG)

backtest: $(READY) ## the same file as a backtest
	@$(BIN)/python -m nautilus_ext.run $(CONFIG) --backtest

test: $(READY) ## everything that the project promises, on real servers and processes
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

check: $(READY) ## ruff, format, import contracts, types, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/pyright
	@$(BIN)/python -m nautilus_ext schema | diff - node_configs/schema.json \
		|| { echo "node_configs/schema.json is stale: make schema"; exit 1; }

format: $(READY) ## let ruff format and fix what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

controls: $(READY) ## write docs/risk-controls.md anew, from the markers of the tests
	@$(BIN)/python tests/controls.py

schema: $(READY) ## write node_configs/schema.json anew
	@$(BIN)/python -m nautilus_ext schema > node_configs/schema.json

bench: $(READY) ## measure: JSON with medians, budgets and verdicts; exit 1 on a miss (BENCH="gate power" for some)
	@$(BIN)/python tests/bench/run.py $(BENCH)

prove: $(READY) ## the long proofs, with fresh seeds
	@PROVE_REPORT=docs/benchmarks/prove.md $(BIN)/python -m pytest tests/prove -m prove

mutation: $(READY) ## does a test notice each small mistake in the risk rules? docs/risk-mutants.md (ALL=1: of all modules)
	@$(BIN)/python tests/mutation/run.py

stress: $(READY) ## the last recorded session of CONFIG's book through the gate at twice its peak rate, against a recount
	@PYTHONPATH=tests/integration $(BIN)/python tests/integration/stress_replay.py $(CONFIG)

soak-rate: $(READY) ## half an hour at twice the usual rate: memory and lag must stay flat (SOAK_MINUTES=n)
	@$(BIN)/python tests/bench/soak.py

wheel: $(READY) ## build the wheel, install it into a clean venv elsewhere, and run it from there
	@$(BIN)/python tests/acceptance/wheel.py

compose-check: $(READY) ## hold the docker files against what they promise (no Docker needed)
	@$(BIN)/python -m pytest tests/acceptance/test_compose.py

lock: $(READY) ## resolve the pins anew (needs uv)
	@uv pip compile pyproject.toml --extra embedded --group dev --generate-hashes --universal \
		--no-emit-index-url --no-annotate --no-header -q -o requirements.lock

clean: ## remove what was built; the data folder stays
	@rm -rf .venv dist build .ruff_cache .pytest_cache .hypothesis
