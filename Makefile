# `make` alone lists the targets. Set-up happens by itself: a stamp in the virtual environment
# says that it was done, and a change of pyproject.toml or of a .proto file makes it stale.

SHELL := /bin/bash
VENV := .venv
AWSCLI_VENV := .venv-awscli
PROMETHEUS := .prometheus
PYTHON_RUN := $(VENV)/bin/python
SETUP_INPUTS := pyproject.toml packaging/hatch_build.py packaging/protos.py packaging/setup.sh \
	deploy/requirements.txt $(wildcard proto/quorate/v1/*.proto)
CODE := $(wildcard raft model node router quorate packaging bench deploy tests)

# These tests start real processes; `make check` leaves them to `make test`.
PROCESSES := tests/processes tests/sdk
UNIT := tests $(PROCESSES:%=--ignore=%)

RAFT_BY_CHANCE := tests/raft/test_exploration.py tests/raft/test_simulation.py
RAFT_SCENARIOS := $(filter-out $(RAFT_BY_CHANCE),$(wildcard tests/raft/test_*.py))

# For `make sim`.
SEED ?= 1
RUNS ?= 200
JOBS ?= $(shell nproc)

# For `make pythons`: what else than the oldest Python there is.
PYTHONS ?= 3.12 3.13

# For `make fuzz`, of each target.
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help up demo bench rolling fuzz sim sim-plants sweep test check core unit pythons format lint types imports proto dist clean distclean
.NOTPARALLEL:

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(VENV)/.stamp-run ## run a three-AZ cluster in the foreground (Ctrl-C stops it)
	@exec $(PYTHON_RUN) -m quorate up $(ARGS)

demo: $(VENV)/.stamp-run ## load a real data set, kill a leader on the way, verify every record
	@exec $(PYTHON_RUN) -m quorate demo $(ARGS)

bench: $(VENV)/.stamp-dev ## measure writes per second and the write gap of a kill and of a pause
	@$(PYTHON_RUN) -m bench.put $(ARGS) && $(PYTHON_RUN) -m bench.gaps --only kill-one,pause-one

rolling: $(VENV)/.stamp-dev ## restart every process in turn under load; fails on a failed request or a gap over 150 ms
	@$(PYTHON_RUN) -m bench.rolling $(ARGS)

test: $(VENV)/.stamp-dev $(AWSCLI_VENV)/.stamp $(PROMETHEUS)/.stamp ## everything `check` does, then the tests with real processes
	@$(MAKE) --no-print-directory check
	$(PYTHON_RUN) -m pytest $(PROCESSES) $(ARGS)

sweep: $(VENV)/.stamp-dev ## kill a node and cut its power at each of its first 50 syncs (ten minutes; power cuts need root)
	QUORATE_SWEEP=whole $(PYTHON_RUN) -m pytest tests/processes/faults/test_crash_points.py \
		tests/processes/faults/test_first_start.py $(ARGS)

clients: $(VENV)/.stamp-dev $(AWSCLI_VENV)/.stamp ## install and drive the clients that people have (needs the network; ARGS=NAME: that one)
	@$(PYTHON_RUN) -m tests.clients $(ARGS)

check: lint types imports core unit ## format, lint, types, import contracts, unit tests (five minutes)

# The scenarios alone reach every branch of raft/; what goes by chance would hide a hole.
core: $(VENV)/.stamp-dev ## the scenarios of raft/, which must reach every branch of it
	$(PYTHON_RUN) -m pytest -q -n auto $(RAFT_SCENARIOS) \
		--cov=raft --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

unit: $(VENV)/.stamp-dev $(PROMETHEUS)/.stamp ## unit tests, but for `core`
	$(PYTHON_RUN) -m pytest -q -n auto $(UNIT) $(RAFT_SCENARIOS:%=--ignore=%) $(ARGS)

pythons: ## unit tests under the other Pythons that are supported (PYTHONS='3.12 3.13'; uv brings those that are missing)
	@for version in $(PYTHONS); do \
		python=$$(packaging/find_python.sh $$version) || exit 1; \
		PYTHON=$$python packaging/setup.sh .venv-$$version -e '.[dev]' || exit 1; \
		.venv-$$version/bin/python -m pytest -q -n auto $(UNIT) $(ARGS) || exit 1; \
	done

lint: $(VENV)/.stamp-dev ## formatting and lint
	$(VENV)/bin/ruff format --check $(CODE)
	$(VENV)/bin/ruff check $(CODE)

types: $(VENV)/.stamp-dev ## mypy, strict
	$(VENV)/bin/mypy

imports: $(VENV)/.stamp-dev ## who may import whom
	$(VENV)/bin/lint-imports

format: $(VENV)/.stamp-dev ## rewrite the code in the house format
	$(VENV)/bin/ruff format $(CODE)
	$(VENV)/bin/ruff check --fix $(CODE)

sim: $(VENV)/.stamp-dev ## simulate whole clusters (SEED=1 RUNS=200: that many seeds)
	$(PYTHON_RUN) -m tests.sim --seed $(SEED) --runs $(RUNS) --jobs $(JOBS) $(ARGS)

sim-plants: $(VENV)/.stamp-dev ## plant known bugs in the simulation and show which seed finds each
	$(PYTHON_RUN) -m tests.sim.plants --jobs $(JOBS) $(ARGS)

fuzz: $(VENV)/.stamp-dev ## fuzz each parser for SECONDS=600; what is found lies in .fuzz (atheris has wheels for some Pythons)
	@$(PYTHON_RUN) -c 'import atheris' 2>/dev/null || packaging/setup.sh $(VENV) -e '.[dev,fuzz]'
	@for name in item expression start_key authorization http; do \
		$(PYTHON_RUN) -m tests.fuzz $$name --seconds $(SECONDS) || exit 1; \
	done

proto: $(VENV)/.stamp-dev ## generate quorate/v1 from proto/
	$(PYTHON_RUN) packaging/protos.py

dist: $(VENV)/.stamp-dev ## build both wheels, the client's and the server's, into dist/
	$(PYTHON_RUN) -m pip wheel --quiet --no-deps --wheel-dir dist . ./packaging/server

clean: ## remove caches and build products (not data, not the virtual environments)
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f quorate/v1/*_pb2*.py quorate/v1/*_pb2.pyi $(VENV)/.stamp-*

distclean: clean ## clean, and remove the virtual environments
	rm -rf $(VENV) $(AWSCLI_VENV) $(PROMETHEUS) .clients $(PYTHONS:%=.venv-%)

$(VENV)/.stamp-run: $(SETUP_INPUTS)
	@packaging/setup.sh $(VENV) -e '.[server-dependencies]'
	@touch $@

$(VENV)/.stamp-dev: $(SETUP_INPUTS)
	@packaging/setup.sh $(VENV) -e '.[dev]'
	@touch $@ $(VENV)/.stamp-run

# The AWS CLI pins a botocore that conflicts with boto3's: it lives alone.
$(AWSCLI_VENV)/.stamp: packaging/setup.sh
	@packaging/setup.sh $(AWSCLI_VENV) 'awscli>=1.40,<2'
	@touch $@

# The tests of the alert rules need promtool and prometheus. No stamp is left if there were none to
# be had: the tests that miss them say so, and the next `make` tries again.
$(PROMETHEUS)/.stamp: packaging/prometheus.sh
	@packaging/prometheus.sh $(PROMETHEUS)
