# Everything a checkout needs, from python 3.11 or newer (with venv), git and make.
# The first target that needs it makes .venv and installs what requirements.lock pins, by hash.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARTIFACTS := src/serving_network/contracts/artifacts

.PHONY: audit demo test test-ethers gas gas-update gas-causes campaign histories mutation-python lint format build lock wheel clean

demo: build ## play the whole network once, on a private chain in the process
	$(BIN)/serving demo

test: build ## all tests
	$(BIN)/pytest -n auto --dist worksteal

test-ethers: $(VENV)/.installed ## the local chain through ethers.js; needs node and npm
	npm --prefix tests/embedded/ethers ci --no-audit --no-fund --silent
	$(BIN)/python tests/embedded/ethers/run.py

campaign: build ## 10,000 random histories on contracts and model; stop it and start it again as you like
	$(BIN)/python -m tests.stateful.campaign --sequences 10000

histories: build ## 20,000 random histories of a provider who settles; about 15 minutes
	$(BIN)/python -m tests.settlement.histories --count 20000

gas: build ## gas of every operation, against its budget and the committed figures
	$(BIN)/python -m benchmarks.gas

gas-update: build ## the same, written to benchmarks/gas.json and docs/gas.md
	$(BIN)/python -m benchmarks.gas --update

gas-causes: build ## where the gas of one settlement goes
	$(BIN)/python -m benchmarks.gas.causes

mutation: build ## put small faults into the contracts and see whether the tests notice; an hour or two, can be stopped
	$(BIN)/python -m tests.mutation.run

mutation-python: build ## the same for the settlement's Python code
	$(BIN)/python -m tests.mutation.python

proofs: build .proofs/bin/halmos ## prove claims about the compiled contracts for all values
	$(BIN)/python proofs/run.py .proofs/bin/halmos

.proofs/bin/halmos:
	$(PYTHON) -m venv .proofs
	.proofs/bin/pip --disable-pip-version-check --quiet install halmos==0.3.3

lint: $(VENV)/.installed ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed ## mend what the style check can mend by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: $(VENV)/.installed ## compile the contracts that changed, by the hashes of their sources
	@$(BIN)/python -m serving_network.contracts.build

wheel: build ## the package with the compiled contracts in it, in dist/
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

lock: $(VENV)/.installed ## pin the newest versions that pyproject.toml allows; needs uv
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra dev \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

audit: ## look the pinned dependencies up in the database of known vulnerabilities
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement .ci/audit.lock
	.venv/audit/bin/python .ci/audit.py

clean: ## everything that make made
	rm -rf $(VENV) $(ARTIFACTS) dist

$(VENV)/.installed: $(VENV)/.locked pyproject.toml hatch_build.py
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.locked: $(VENV)/.created requirements.lock
	$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer with venv was found: install one, or say make PYTHON=/path/to/it'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
