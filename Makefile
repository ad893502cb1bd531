# Everything a contributor runs. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL = help
.PHONY: run test test-services check format lint types imports docs openapi golden mcp-catalog bench help clean

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/installed  ## install and start all planes with a gateway to try
	$(BIN)/trustgate run --demo

test: $(VENV)/installed-dev  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/services $(ARGS)

test-services: $(VENV)/installed-services  ## run the tests on what operators run: Debian's Postgres and Redis, Kafka, manifests, installer (as root it brings what that needs)
	$(BIN)/python -m pytest $(ARGS) tests/services
	TEST_POSTGRES_BIN=$$(dirname "$$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)") \
	  TEST_REDIS_SERVER=$$(command -v redis-server) TEST_REDIS_CLUSTER=yes \
	  $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS) tests/contracts tests/fleet/test_configuration.py \
	  --ignore tests/contracts/test_vectors.py

check: lint types imports docs  ## format, lint, types, import contracts, generated documents

format: $(VENV)/installed-dev  ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/installed-dev  ## is the code in its format and free of lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-dev  ## mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy tests

imports: $(VENV)/installed-dev  ## who may import whom
	$(BIN)/lint-imports

docs: $(VENV)/installed-dev  ## are the generated documents up to date
	$(BIN)/python cmd/openapi/main.py --check
	$(BIN)/python cmd/docs/main.py --check
	$(BIN)/python -m tests.plugins.document --check
	$(BIN)/python -m tests.failover.document --check

openapi: $(VENV)/installed-dev  ## write the generated documents
	$(BIN)/python cmd/openapi/main.py
	$(BIN)/python cmd/docs/main.py
	$(BIN)/python -m tests.matrix.document
	$(BIN)/python -m tests.plugins.document
	$(BIN)/python -m tests.failover.document

mcp-catalog: $(VENV)/installed  ## ask the servers of the MCP catalogue whether they are there (calls out)
	$(BIN)/python cmd/mcp_catalog/main.py $(ARGS)

golden: $(VENV)/installed-dev  ## write what the translations make of the golden files; read the diff before you commit it
	GOLDEN=rewrite $(BIN)/python -m pytest -q tests/providers/test_golden.py

bench: $(VENV)/installed-dev  ## measure the gateway and its peers in one run (see bench/README.md)
	$(BIN)/python -m bench $(ARGS)

clean:  ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "TrustGate needs Python 3.11 or newer; $(PYTHON) is older. Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml constraints.txt
	@echo "Installing TrustGate …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing what tests and checks need …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/installed-services: $(VENV)/installed-dev
	@echo "Installing what the service tests need …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,services]'
	sh tests/services/install.sh
	@touch $@
