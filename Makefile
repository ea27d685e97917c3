# One entry to everything a person does here. `make` alone lists the targets.
# Needs Python 3.11 or newer with venv, and make; brings the rest. No root, no Docker, no Redis.

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
PINS    := constraints.txt
PIP     := $(BIN)/python -m pip --disable-pip-version-check --quiet
NODE    := tests/journeys/clients
OIDC    := tests/sso/provider
KUBE    := .cache/kubernetes
SUITE   := .cache/conformance
LAB     := tools/lab
FASTMCP := .cache/fastmcp
# A fetch that stalls is tried again after a minute.
NPM     := --no-audit --no-fund --no-package-lock --silent --fetch-timeout=60000
ARGS    ?=
# Processes that share the tests: more than there are cores, since tests wait about as long as they work; none with JOBS=
JOBS    ?= 4

# Tests start hundreds of processes: what one of them compiled is kept for the others.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test coverage check matrix reference site lab conformance format separate fleet build binary sbom release bench chaos races mutants node kubernetes clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.runtime ## set up, then serve on http://localhost:3232
	$(BIN)/switchboard serve $(ARGS)

test: $(VENV)/.dev ## set up, then run the tests in JOBS=4 processes (ARGS="tests/state -k lease" runs a part of them)
	@command -v npm >/dev/null || { echo "npm is not there: what needs Node is not run"; exit 0; }; \
	$(MAKE) --no-print-directory node || echo "what npm should bring could not be had: what needs it is not run"
	@$(MAKE) --no-print-directory kubernetes || echo "helm and kubectl could not be had: what needs them is not run"
	$(BIN)/python -m pytest $(if $(JOBS),-n $(JOBS) --dist loadscope --no-loadscope-reorder) $(ARGS)

coverage: ## the same, and which lines they run, at least 90 %; takes half as long again
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term --cov-fail-under=90 $(ARGS)"

check: $(VENV)/.dev ## format, lint, types, import directions, and the rules of tools/house.py
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.house

site: $(VENV)/.dev ## the documents as a site, in dist/site; a link or anchor that leads nowhere fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file tools/site/mkdocs.yml

lab: $(VENV)/.dev $(LAB)/node_modules/.installed $(FASTMCP)/.installed ## clients of others through the authorization lab, into docs/lab.md (ARGS="fastmcp --only step-up")
	$(BIN)/python -m tools.lab.clients $(ARGS)
	$(BIN)/python tools/reference.py

conformance: $(VENV)/.dev $(SUITE)/.installed ## the official suite against two workers in turn: every version, authorization off and on
	$(BIN)/python -m tools.conformance $(ARGS)

matrix: $(VENV)/.dev ## write into docs/gateway.md what passes through, as seen by official clients
	WRITE_MATRIX=1 $(BIN)/python -m pytest tests/backends/test_matrix.py -q $(ARGS)

reference: $(VENV)/.dev ## write docs/configuration.md and docs/cli.md from the code, and the schema for editors
	$(BIN)/python tools/reference.py
	$(BIN)/switchboard config schema > examples/switchboard.schema.json

format: $(VENV)/.dev ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

separate: $(VENV)/.dev ## the authorization server on :3001 and the MCP server on :3232, two processes
	$(BIN)/python -m tools.fleet separate $(ARGS)

fleet: $(VENV)/.dev ## two workers on one Redis behind a load balancer on :3232
	$(BIN)/python -m tools.fleet run $(ARGS)

build: $(VENV)/.dev ## the wheel and the source distribution, in dist/
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/python -m build --no-isolation --outdir dist .

binary: $(VENV)/.release ## one file that serves, for machines like this one with the same Python: dist/switchboard
	@mkdir -p dist
	$(BIN)/pex . --constraints $(PINS) --script switchboard --venv prepend --venv-site-packages-copies \
		--output-file dist/switchboard

sbom: build $(VENV)/.release ## the software bill of materials of the wheel and what it needs (CycloneDX), in dist/
	$(BIN)/python -m tools.release.bill_of_materials

release: build binary sbom ## all that a release consists of, in dist/; what can be started is, as those who get it would
	$(BIN)/python -m tools.release $(ARGS)

bench: $(VENV)/.dev ## speed beside the SDK and other gateways, into docs/performance.md (ARGS="--quick", "--rows modern,http")
	$(BIN)/python -m scratch.bench $(ARGS)

chaos: $(VENV)/.dev ## a fleet under load while its parts are killed: what is lost, in 10 minutes (ARGS="--seconds 60 --fault roll")
	$(BIN)/python -m tools.chaos $(ARGS)

races: $(VENV)/.dev ## 50 redemptions of one code, 50 uses of one refresh token, on two workers at once, 100 rounds
	$(BIN)/python -m tools.fleet.redemptions $(ARGS)

mutants: $(VENV)/.dev ## try small faults in a room's source, and tell which no test notices (ARGS="tasks --sample 20 --seed 1")
	$(BIN)/python -m tools.mutants $(ARGS)

node: $(NODE)/node_modules/.installed $(OIDC)/node_modules/.installed ## Node 22, the official TypeScript clients and MCP Inspector, for the journeys

kubernetes: $(KUBE)/.installed ## helm and kubectl, with which the tests look at deploy/ (Linux on x86-64)

clean: ## remove what the other targets made
	rm -rf $(VENV) .cache $(NODE)/node_modules $(OIDC)/node_modules $(LAB)/node_modules dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*

# The stamps: an install runs again only when what it reads has changed.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml $(PINS) | $(BIN)/python
	@echo "== setting up $(VENV): about a minute, once"
	@$(PIP) install --constraint $(PINS) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(PINS) | $(BIN)/python
	@echo "== setting up $(VENV) with what tests and checks need: a minute or two, once"
	@$(PIP) install --constraint $(PINS) --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.release: pyproject.toml $(PINS) | $(VENV)/.dev
	@$(PIP) install --constraint $(PINS) --editable '.[release]'
	@touch $@

%/node_modules/.installed: %/package.json
	npm install --prefix $* $(NPM)
	@touch $@

$(LAB)/node_modules/.installed: $(LAB)/package.json $(LAB)/package-lock.json
	npm ci --prefix $(LAB) --no-audit --no-fund --silent --fetch-timeout=60000
	@touch $@

$(FASTMCP)/.installed: $(LAB)/fastmcp.txt
	$(PYTHON) -m venv $(FASTMCP)
	$(FASTMCP)/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@

$(KUBE)/.installed: tools/release/kubernetes_programs.py | $(BIN)/python
	$(BIN)/python -m tools.release.kubernetes_programs $(KUBE)
	@touch $@

$(SUITE)/.installed: tools/conformance/package.json
	mkdir -p $(SUITE)
	cp $< $(SUITE)/
	npm install --prefix $(SUITE) $(NPM)
	@touch $@
