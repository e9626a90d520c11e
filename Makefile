# Everything a checkout needs, from Python 3.11 or newer (with venv), git and make.
# The first target that needs .venv creates it and installs the packages in requirements.lock, verified by hash.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARTIFACTS := src/serving_network/contracts/artifacts
# The base of `make commits`: commits that are not in BASE are checked.
BASE ?= origin/main
NO_PYTHON := 'Found no Python 3.11 or newer with venv: install one, or run make PYTHON=/path/to/python'

.PHONY: demo help test lint format commits build wheel clean \
	gas gas-update gas-causes bench bench-gateway bench-gateway-litellm bench-gateway-memory bench-explorer \
	test-browser test-ethers test-sdk test-models test-proxies campaign histories prove-gateway mutation mutation-python proofs \
	docs \
	lock audit

##@ Start

demo: build ## run the whole network once, on an in-process private chain
	$(BIN)/serving demo

help: ## list the targets by topic
	@awk '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.* ## / { split($$0, line, ":.* ## "); printf "  make %-21s  %s\n", line[1], line[2] }' $(MAKEFILE_LIST)

##@ Change the code

test: build ## run all tests
	$(BIN)/pytest -n auto --dist worksteal

lint: $(VENV)/.installed ## check style, types, import rules, unused code and licences
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python .ci/unused.py
	$(BIN)/python .ci/licences.py

format: $(VENV)/.installed ## format the code, apply automatic fixes and add missing licences
	$(BIN)/python .ci/licences.py --fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

commits: ## check the subjects of the commits that are not in BASE (origin/main)
	@$(PYTHON) .ci/commits.py $(BASE)

build: $(VENV)/.installed ## compile the contracts that changed
	@$(BIN)/python -m serving_network.contracts.build

wheel: build ## build the package with the compiled contracts, in dist/
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove the environments, compiled contracts, packages and site
	rm -rf $(VENV) .bench .models .docs .proofs $(ARTIFACTS) dist site

##@ Gas and speed

gas: build ## measure the gas of every operation; compare with budgets and committed figures
	$(BIN)/python -m benchmarks.gas

gas-update: build ## measure gas and update benchmarks/gas.json and docs/gas.md
	$(BIN)/python -m benchmarks.gas --update

gas-causes: build ## show what the gas of a settlement and of the dearest operations is spent on
	$(BIN)/python -m benchmarks.gas.causes
	$(BIN)/python -m benchmarks.gas.facts

bench: build .bench/bin/uvicorn ## measure all parts, or PARTS="chain startup", and print docs/performance.md
	$(BIN)/python -m benchmarks.run $(PARTS)

bench-gateway: build .bench/bin/uvicorn ## measure the gateway beside a server that passes bytes through; about 8 minutes
	$(BIN)/python -m benchmarks.gateway --uvicorn .bench/bin/uvicorn

bench-gateway-litellm: build .bench/bin/uvicorn .bench/litellm/bin/litellm ## the same with LiteLLM, whose packages it installs; about 15 minutes
	$(BIN)/python -m benchmarks.gateway --uvicorn .bench/bin/uvicorn --litellm .bench/litellm/bin/litellm

bench-gateway-memory: build .bench/bin/uvicorn ## watch the memory of the gateway for 200,000 requests; about 5 minutes
	$(BIN)/python -m benchmarks.gateway --uvicorn .bench/bin/uvicorn --growth

bench-explorer: build ## measure the pages of the explorer on a network of 100,000 settlements; about 2 minutes
	$(BIN)/python -m benchmarks.explorer

.bench/litellm/bin/litellm:
	$(PYTHON) -m venv .bench/litellm
	.bench/litellm/bin/pip --disable-pip-version-check --quiet install 'litellm[proxy]==1.108.0'

.bench/bin/uvicorn:
	$(PYTHON) -m venv .bench
	.bench/bin/pip --disable-pip-version-check --quiet install uvicorn==0.54.0 httptools==0.9.0 aiohttp==3.14.5

##@ Longer tests

test-ethers: $(VENV)/.installed ## test the local chain through ethers.js, viem and Hardhat's helpers (needs node and npm)
	npm --prefix tests/localchain/ethers ci --ignore-scripts --no-audit --no-fund --silent
	$(BIN)/python tests/localchain/ethers/run.py

test-sdk: build ## test the gateway through the published TypeScript clients (needs node and npm)
	npm --prefix tests/sdk ci --ignore-scripts --no-audit --no-fund --silent
	$(BIN)/python tests/sdk/run.py

test-browser: build ## look at every page of the explorer in Chromium (needs node, npm and chromium)
	npm --prefix tests/explorer/browser ci --ignore-scripts --no-audit --no-fund --silent
	$(BIN)/python tests/explorer/browser/run.py $(if $(WRITE),--write)

test-models: build .models/bin/transformers ## test the gateway with a real model server (installs torch, 1.2 GB)
	$(BIN)/python -m tests.models.run .models

# The wheels without CUDA are on PyTorch's own index only.
.models/bin/transformers:
	$(PYTHON) -m venv .models
	.models/bin/pip --disable-pip-version-check --quiet install --extra-index-url https://download.pytorch.org/whl/cpu \
		torch==2.13.0+cpu 'transformers[serving]==5.24.0'

test-proxies: build ## test the documented configurations of nginx and Caddy, where these are installed
	$(BIN)/pytest -q tests/gateway/behind_proxies.py

campaign: build ## run 10,000 random histories on contracts and model; can be stopped and resumed
	$(BIN)/python -m tests.stateful.campaign --sequences 10000

histories: build ## run 20,000 random histories of a provider that settles; about 7 minutes on two cores
	$(BIN)/python -m tests.settlement.histories --count 20000

prove-gateway: build ## kill gateway, settler and database 200 times on each store, and check every wei; 20 minutes
	$(BIN)/python -m tests.gateway.prove --kills 200

mutation: build ## run mutation tests of the contracts, or of what changed SINCE a revision; can be resumed
	$(BIN)/python -m tests.mutation.run $(if $(SINCE),--since $(SINCE))

mutation-python: build ## run mutation tests of the settlement code and the store
	$(BIN)/python -m tests.mutation.python

proofs: build .proofs/bin/halmos ## prove claims about the compiled contracts for all values
	$(BIN)/python proofs/run.py .proofs/bin/halmos

.proofs/bin/halmos:
	$(PYTHON) -m venv .proofs
	.proofs/bin/pip --disable-pip-version-check --quiet install halmos==0.3.3

##@ Documentation

docs: .docs/.installed ## build the site in site/ and check its links
	.docs/bin/python .ci/docs.py

.docs/.installed: .ci/docs.lock
	@test -n "$(PYTHON)" || { echo $(NO_PYTHON); exit 1; }
	$(PYTHON) -m venv .docs
	.docs/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement .ci/docs.lock
	@touch $@

##@ Dependencies

lock: $(VENV)/.installed ## pin the newest versions allowed by pyproject.toml (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --extra dev \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
	for tool in audit docs; do \
		uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command 'make lock' --output-file .ci/$$tool.lock .ci/$$tool.in || exit 1; done

audit: ## check the pinned dependencies for known vulnerabilities
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement .ci/audit.lock
	.venv/audit/bin/python .ci/audit.py

$(VENV)/.installed: $(VENV)/.locked pyproject.toml hatch_build.py
	@echo "Installing this package and compiling its contracts."
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.locked: $(VENV)/.created requirements.lock
	@echo "Installing the packages in requirements.lock, verified by hash."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo $(NO_PYTHON); exit 1; }
	@echo "Creating $(VENV) with $(PYTHON), installing packages and compiling contracts. This takes about a minute:"
	@echo "57 s on two cores with the packages in pip's cache, longer if they must be downloaded."
	@$(PYTHON) -m venv $(VENV)
	@touch $@
