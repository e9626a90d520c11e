# Everything a checkout needs, from python 3.11 or newer (with venv), git and make.
# The first target that needs .venv creates it and installs the packages in requirements.lock, verified by hash.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARTIFACTS := src/serving_network/contracts/artifacts

.PHONY: audit demo test test-ethers gas gas-update gas-causes campaign histories mutation-python lint format build lock wheel clean

demo: build ## run the whole network once, on an in-process private chain
	$(BIN)/serving demo

test: build ## run all tests
	$(BIN)/pytest -n auto --dist worksteal

test-ethers: $(VENV)/.installed ## test the local chain through ethers.js; needs node and npm
	npm --prefix tests/localchain/ethers ci --no-audit --no-fund --silent
	$(BIN)/python tests/localchain/ethers/run.py

campaign: build ## run 10,000 random histories on contracts and model; can be stopped and resumed
	$(BIN)/python -m tests.stateful.campaign --sequences 10000

histories: build ## 20,000 random histories of a provider who settles; about 15 minutes
	$(BIN)/python -m tests.settlement.histories --count 20000

gas: build ## gas of every operation, against its budget and the committed figures
	$(BIN)/python -m benchmarks.gas

gas-update: build ## measure gas and update benchmarks/gas.json and docs/gas.md
	$(BIN)/python -m benchmarks.gas --update

gas-causes: build ## show what the gas of one settlement is spent on
	$(BIN)/python -m benchmarks.gas.causes

mutation: build ## run mutation tests of the contracts; takes an hour or two, can be stopped and resumed
	$(BIN)/python -m tests.mutation.run

mutation-python: build ## run mutation tests of the settlement's Python code
	$(BIN)/python -m tests.mutation.python

proofs: build .proofs/bin/halmos ## prove claims about the compiled contracts for all values
	$(BIN)/python proofs/run.py .proofs/bin/halmos

.proofs/bin/halmos:
	$(PYTHON) -m venv .proofs
	.proofs/bin/pip --disable-pip-version-check --quiet install halmos==0.3.3

lint: $(VENV)/.installed ## check style, types and the layers of packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed ## format the code and apply automatic fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: $(VENV)/.installed ## compile the contracts whose source hashes changed
	@$(BIN)/python -m serving_network.contracts.build

wheel: build ## build the package with the compiled contracts, in dist/
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

lock: $(VENV)/.installed ## pin the newest versions allowed by pyproject.toml; needs uv
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra dev \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

audit: ## check the pinned dependencies for known vulnerabilities
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement .ci/audit.lock
	.venv/audit/bin/python .ci/audit.py

clean: ## remove everything that make created
	rm -rf $(VENV) $(ARTIFACTS) dist

$(VENV)/.installed: $(VENV)/.locked pyproject.toml hatch_build.py
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.locked: $(VENV)/.created requirements.lock
	$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer with venv was found: install one, or run make PYTHON=/path/to/python'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
