# make demo | lab | notebooks | test | bench | clean. Needs Python 3.11 or newer with venv, make and git; everything else goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
NOTEBOOK := notebooks/01_quickstart.ipynb

# Jupyter must find this environment's kernel first, and nothing of the user's own packages or settings may leak in.
export JUPYTER_PREFER_ENV_PATH := 1
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS

.PHONY: help
help:
	@echo "make demo    run the quickstart notebook here and print its main results"
	@echo "make lab     open JupyterLab on the tutorials, with the first one"
	@echo "make test    install what the tests need and run them, linters and notebooks included"
	@echo "make notebooks  run all tutorials and save their outputs (ARGS='notebooks/02_tasks.ipynb': this one)"
	@echo "make test-limits   the tests with 1,024 descriptors and 64 MiB of shared memory"
	@echo "make bench   measure nbray against the peers that are installed (ARGS='tasks_batch --vs processes')"
	@echo "make clean   remove everything that these commands made"

# The first interpreter that is new enough and can make environments; PYTHON=... names one.
$(BIN)/python:
	@found=; old=; bare=; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { old="$$old $$python ($$version)"; continue; }; \
	    $$python -c 'import venv, ensurepip' 2>/dev/null || { bare="$${bare:-$$version}"; continue; }; \
	    found=$$python; break; \
	done; \
	if [ -z "$$found" ] && [ -n "$$bare" ]; then \
	    echo "Python $$bare is here, but cannot make virtual environments (no module venv or ensurepip)."; \
	    echo "On Debian and Ubuntu: apt-get install python$$bare-venv"; exit 1; \
	elif [ -z "$$found" ]; then \
	    echo "nbray needs Python 3.11 or newer; found:$${old:- none}. 'make PYTHON=/path/to/python3' names one."; exit 1; \
	fi; \
	echo "making $(VENV) with $$found"; \
	rm -rf $(VENV) && $$found -m venv $(VENV)

$(VENV)/demo.stamp: $(BIN)/python pyproject.toml
	@echo "installing nbray and JupyterLab into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@$(BIN)/python -m compileall -q nbray magics widgets  # where PYTHONDONTWRITEBYTECODE is set, every start would compile
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/demo.stamp
	@echo "installing the peers of the benchmark into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

.PHONY: demo
demo: $(VENV)/demo.stamp
	@$(BIN)/python notebooks/run.py $(NOTEBOOK) build/demo

.PHONY: lab
lab: $(VENV)/demo.stamp
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) $(NOTEBOOK)

.PHONY: notebooks
notebooks: $(VENV)/demo.stamp
	@$(BIN)/python notebooks/save.py $(ARGS)

# The tests that look at a real JupyterLab need a Chromium. Root gets one where apt has it; anybody else is told.
.PHONY: browser
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing Chromium for the browser tests"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    mkdir -p build; \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } \
	        >build/apt.log 2>&1 && exit 0; \
	    tail -n 3 build/apt.log; \
	fi; \
	echo "NO CHROMIUM: the browser tests will be skipped (on Debian: apt-get install chromium)"

# All checks run even if one fails, pytest last: who reads the end of the output sees its summary. Two processes share the test files,
# because half of the time of most tests is waiting; in the order in which they are collected, so that the browser's go last.
.PHONY: test
test: $(VENV)/test.stamp browser
	@failed=; \
	check() { echo "--- $$*"; "$(BIN)/$$@" || failed="$$failed; $$*"; }; \
	check ruff check .; \
	check ruff format --check .; \
	check mypy; \
	check lint-imports; \
	check python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --nbval --nbval-current-env --nbval-cell-timeout=120 $(ARGS); \
	[ -z "$$failed" ] || { echo "FAILED: $${failed#; }" >&2; exit 1; }

# Slow, and not part of CI: to be run after changes of anything that opens files or keeps objects.
.PHONY: test-limits
test-limits: $(VENV)/test.stamp
	@$(BIN)/python tests/limits.py $(ARGS)

.PHONY: bench
bench: $(VENV)/bench.stamp
	@mkdir -p build
	@$(BIN)/python -m nbray.bench --json build/bench.json --markdown build/bench.md $(ARGS)

.PHONY: clean
clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
