# Kuber-Cron. `make` alone prints what there is.
# Needs a Python of at least 3.11 with pip, nothing else; works with the GNU make 3.81 of macOS.

VENV := .venv
TOOLS := .venv-packaging
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
# What takes longer is marked `slow`, what builds and installs is marked `packaging`: `make test-rest` runs them, three
# at a time; tests of one `xdist_group` never run beside each other.
# What needs a Kubernetes API server is marked `cluster`: `make test-cluster` with KUBECONFIG or KUBEBUILDER_ASSETS.
# What needs a Docker engine is marked `e2e`, what needs a cluster with a node `e2e_kubernetes`.
ELSEWHERE := not cluster and not e2e and not e2e_kubernetes
EVERYDAY := not slow and not packaging and $(ELSEWHERE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- setting up ----------------------------------------------------------------------------------------

# The stamps are touched last, so that an interrupted installation is taken up again. Each interpreter that
# PYTHON names has a stamp of its own: asking for another makes the environment anew.
STAMP := .complete$(if $(PYTHON),-$(subst /,-,$(PYTHON)))

.PHONY: setup
setup: $(VENV)/$(STAMP) ## make .venv from the hash-locked requirements (PYTHON=python3.13 for another)

$(VENV)/$(STAMP): requirements/dev.txt requirements/venv pyproject.toml
	@PYTHON="$(PYTHON)" requirements/venv $(VENV) requirements/dev.txt --editable .
	@touch $@

.PHONY: tools
tools: $(TOOLS)/$(STAMP) ## make .venv-packaging: what builds, checks and locks

$(TOOLS)/$(STAMP): requirements/packaging.txt requirements/venv
	@PYTHON="$(PYTHON)" requirements/venv $(TOOLS) requirements/packaging.txt
	@touch $@

.PHONY: lock
lock: tools ## make requirements/*.txt again from pyproject.toml (UPGRADE=--upgrade for the newest)
	@requirements/lock $(UPGRADE)

# -- running -------------------------------------------------------------------------------------------

.PHONY: run
run: setup ## run examples/classic.crontab on this machine; Ctrl-C drains and ends it
	@$(BIN)/kuber-cron run examples/classic.crontab

# -- measuring -----------------------------------------------------------------------------------------

.PHONY: bench
bench: setup ## in two minutes: 10,000 decisions at one instant and a steady stream, RQ and the floor in the same run
	@$(BIN)/python benchmarks/measuring.py
	@$(BIN)/python benchmarks/deciding.py 10000
	@$(BIN)/python benchmarks/sustained.py 10

.PHONY: bench-full
bench-full: setup ## everything that is measured, peers in the same run; about an hour of a machine that does nothing else
	@$(BIN)/python benchmarks/measuring.py
	@$(BIN)/python benchmarks/deciding.py 10000 100000
	@$(BIN)/python benchmarks/sustained.py 60
	@$(BIN)/python benchmarks/catchup.py 10000
	@$(BIN)/python benchmarks/scale.py 1000 10000 100000
	@$(BIN)/python benchmarks/schedule.py
	@$(BIN)/python benchmarks/jobfiles.py
	@$(BIN)/python benchmarks/commands.py
	@$(BIN)/python benchmarks/working.py
	@$(BIN)/python benchmarks/acting.py
	@$(BIN)/python benchmarks/memory.py
	@$(BIN)/python benchmarks/reading.py
	@$(BIN)/python benchmarks/takeover.py

# -- checking ------------------------------------------------------------------------------------------

.PHONY: test
test: setup ## the everyday tests, on real Redis and real processes (ARGS="-k name" for some, JOBS=0 one by one)
	@$(PYTEST) -n $(or $(JOBS),3) -m "$(EVERYDAY)" $(ARGS)

.PHONY: test-rest
test-rest: setup tools ## the slow tests, and those that build, install and run the wheel
	@$(PYTEST) -n $(or $(JOBS),3) --dist loadgroup -m "(slow or packaging) and $(ELSEWHERE)" $(ARGS)

.PHONY: test-redis
test-redis: setup ## the integration tests on another server than the locked one: REDIS=/usr/bin/redis-server
	@KUBER_CRON_TEST_REDIS=$(or $(REDIS),redis-server) $(PYTEST) -n $(or $(JOBS),3) -m "$(EVERYDAY)" tests/integration tests/models $(ARGS)

.PHONY: test-bare
test-bare: ## the two commands of the README in a container that has nothing but Python, make and git; needs Docker
	@tests/e2e/bare/run

.PHONY: test-cluster
test-cluster: setup ## the tests on a real API server: set KUBECONFIG, or KUBEBUILDER_ASSETS as for envtest
	@$(PYTEST) -n $(or $(JOBS),3) -m cluster $(ARGS)

$(VENV)/.complete-browser: $(VENV)/$(STAMP) requirements/browser.txt requirements/venv
	@requirements/venv $(VENV) requirements/browser.txt
	@touch $@

.PHONY: images
images: ## build the three images: kuber-cron-scheduler, -worker, -dashboard
	@docker compose build

.PHONY: e2e
e2e: $(VENV)/.complete-browser ## the images and docker-compose.yml on a real Docker engine, rq-dashboard in a real browser
	@$(PYTEST) -m e2e $(ARGS)

.PHONY: e2e-kubernetes
e2e-kubernetes: setup ## k8s/overlays/dev on the cluster of KUBECONFIG, whose nodes have the images
	@$(PYTEST) -m e2e_kubernetes $(ARGS)

.PHONY: test-all
test-all: test test-rest ## both

.PHONY: faults
faults: setup ## ten minutes of faults on real processes (MINUTES=1 SEED=7 ELECTION=redis)
	@$(BIN)/python -m tests.faults --minutes $(or $(MINUTES),10) --election $(or $(ELECTION),kubernetes) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: check
check: lint types contracts test ## what has to hold before a commit: lint, types, contracts, tests

.PHONY: lint
lint: setup ## ruff: rules and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: types
types: setup ## mypy, strict
	@$(BIN)/mypy

.PHONY: contracts
contracts: setup ## import-linter: layers, purity, and who may import kubernetes, rq and redis
	@$(BIN)/lint-imports

.PHONY: docs
docs: setup ## write the pages and schemas that are made from the code
	@$(BIN)/python -m kuber_cron.cli.reference

.PHONY: format
format: setup ## let ruff mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# -- shipping -------------------------------------------------------------------------------------------

.PHONY: dist
dist: tools ## build dist/: the sdist, and the wheel from the sdist, by the locked build back end
	@$(TOOLS)/bin/python -m build --no-isolation .

# -- tidying -------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove what the targets above made, the environments included
	rm -rf $(VENV) $(TOOLS) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
