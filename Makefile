# Two commands need nothing but Python 3.11+, pip, make and a C compiler: `make run` and `make test`.
# Both make .venv on first use; it is rebuilt when pyproject.toml changes.

PYTHON ?= python3
WORKERS ?= 3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready-run
TSTAMP := $(VENV)/.ready-test

.DEFAULT_GOAL := help
.PHONY: help run test lint types fmt unit matrix coverage crash bench bench-peers bench-rooms soak chaos sweep mutants fuzz fixtures providers-test docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("actrio needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.11 …" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check 'pip>=25.1'

$(STAMP): pyproject.toml $(VENV)/bin/python
	@echo "setting up $(VENV) …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[local]'
	@touch $@

$(TSTAMP): pyproject.toml $(STAMP)
	@echo "setting up what the tests need …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --group test --group lint
	@touch $@

run: $(STAMP) ## the main job: a real local model with a tool, then 100 sessions, then a report
	@$(BIN)/actrio model install smollm2 --quiet
	@$(BIN)/actrio demo

test: lint types unit ## lint, types, import contracts, tests

lint: $(TSTAMP) ## ruff and the import contracts
	@$(BIN)/ruff check src tests tools bench
	@$(BIN)/ruff format --check --quiet src tests tools bench
	@told=$$($(BIN)/lint-imports --no-cache) || { echo "$$told"; exit 1; }; echo "$$told" | tail -n 5

types: $(TSTAMP) ## mypy --strict
	@$(BIN)/mypy

unit: $(TSTAMP) ## the tests
	@$(BIN)/actrio model install smollm2 --quiet
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not alone"
	@$(BIN)/python -m pytest -q -m alone

matrix: ## the tests on each of Python 3.11, 3.12 and 3.13 that is installed
	@for version in 3.11 3.12 3.13; do \
	  if python$$version -c '' 2>/dev/null; then \
	    echo "== Python $$version"; \
	    $(MAKE) --no-print-directory PYTHON=python$$version VENV=.venv/$$version unit || exit 1; \
	  else echo "== Python $$version is not installed: skipped"; fi; \
	done

fmt: $(TSTAMP) ## format and fix
	@$(BIN)/ruff format src tests tools bench
	@$(BIN)/ruff check --fix src tests tools bench

coverage: $(TSTAMP) ## the tests with branch coverage
	@$(BIN)/coverage run -m pytest -q && $(BIN)/coverage report

crash: $(TSTAMP) ## kill processes at work a thousand times, store and sessions; nothing may be lost
	@for runner in kill_runner session_runner; do \
	  folder=$$(mktemp -d); $(BIN)/python tests/crash/$$runner.py $$folder $(or $(KILLS),1000); \
	  status=$$?; rm -rf $$folder; [ $$status -eq 0 ] || exit $$status; done

bench: $(STAMP) ## actrio, bare loops and Agno at the same work, in five minutes, one table
	@$(BIN)/python -m bench.peers --quick $(ARGS)

bench-peers: $(STAMP) ## actrio beside seven other programs at the same work; about an hour
	@$(BIN)/python -m bench.peers $(ARGS)

bench-rooms: $(TSTAMP) ## the parts by themselves: kernel, decoding, transport, journal, sessions, stdio, HTTP, imports
	@for part in kernel decode transport journal sessions stdio http imports stress_check; do \
	  echo "== $$part"; $(BIN)/python -m bench.$$part || exit 1; done

soak: $(STAMP) ## the owner's load for ten minutes (DURATION=1h for longer): memory, lag, lost streams
	@$(BIN)/actrio stress --profile soak --duration $(or $(DURATION),10m) --out $(or $(OUT),build/soak)

chaos: $(STAMP) ## ten minutes (DURATION=…) of failing providers, kills, slow clients and cancels
	@$(BIN)/actrio stress --profile chaos --duration $(or $(DURATION),10m) --out $(or $(OUT),build/chaos)

sweep: $(TSTAMP) ## simulate the kernel: SEEDS (100000) programs, and memory over long runs
	@$(BIN)/python tools/sweep.py
	@$(BIN)/python tests/sessions/programs.py $(or $(SESSION_SEEDS),5000)
	@MEMORY_ROUNDS=20000 $(BIN)/python -m pytest -q tests/simulation/test_memory.py --timeout=3600

mutants: $(TSTAMP) ## plant each bug of tools/mutants_table.py; the tests must catch it
	@$(BIN)/python tools/mutants.py

fuzz: $(STAMP) ## a million mutated answers to every wire format, a million lines to the stdio server
	@$(BIN)/python tools/fuzz.py
	@$(BIN)/python tools/fuzz.py --stdio

fixtures: $(TSTAMP) ## check the recorded exchanges; ARGS='--record PROVIDER:MODEL --out FILE' makes one
	@$(BIN)/python tools/make_fixtures.py $(ARGS)

providers-test: $(TSTAMP) ## every provider whose key is set, live; the others are named with their reason
	@LIVE_PROVIDERS=1 $(BIN)/python -m pytest -q -rs --no-header --tb=short tests/providers/test_live.py

docs: $(TSTAMP) ## regenerate the drawn and derived pages
	@$(BIN)/python tools/draw_machines.py
	@$(BIN)/python tools/write_reference.py
	@$(BIN)/python tools/support_matrix.py

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
