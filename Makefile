# `make demo` and `make test` do all the set-up on a fresh machine with Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# SLOW=0 leaves the tests marked slow out; WORKERS=0 runs the tests in one process.
SLOW ?= 1
WORKERS ?= 2
PYTEST_ARGS ?=
SPREAD = $(if $(filter 0,$(WORKERS)),,-n $(WORKERS) --dist loadfile)

.PHONY: help bench demo docs test-install test-matrix test test-fast test-slow lint format types check clean install

help:
	@echo "make demo    compile the embedded model and compare it with float"
	@echo "make test    the whole suite (SLOW=0 leaves the slow tests out)"
	@echo "make docs    the documentation as a site, in build/site"
	@echo "make bench   beside ONNX Runtime's quantizers, as one page in build/bench.md (ZOO=folder)"
	@echo "make test-install  wheel and sdist in empty environments"
	@echo "make test-matrix   that, each extra alone, and oldest and newest dependencies"
	@echo "make check   lint, types and tests, as CI does"
	@echo "make lint | format | types | clean"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("qcompiler needs Python >= 3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[torch,dask,dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/python -m examples.demo

test: test-fast $(if $(filter 0,$(SLOW)),,test-slow)

test-fast: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" $(SPREAD) $(PYTEST_ARGS)

# Exit code 5, no test collected, is a failure of the suite as well: some tests are marked slow.
test-slow: $(STAMP) test-fast
	$(BIN)/python -m pytest -m slow $(SPREAD) $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

# The site loads nothing from elsewhere; a broken link or a page outside the menu is an error.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(STAMP)
	$(BIN)/python -m benchmarks.page $(if $(ZOO),--zoo $(ZOO))

# These install from the package registry into environments of their own, which takes minutes.
test-install: $(STAMP)
	$(BIN)/python .ci/installs.py files

test-matrix: $(STAMP)
	$(BIN)/python .ci/installs.py files extras versions torch

check: lint types test

clean:
	rm -rf build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
