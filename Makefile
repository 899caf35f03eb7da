# LakhNES: `make help` lists what there is to do. Every target builds the environment first if it is missing.
SHELL := bash
PYTHON ?= python3
PROFILE ?= smoke
# How many notebooks run at a time; empty: what tools/run_notebooks.py --help says.
JOBS ?=
# The package index that PyTorch alone is taken from; empty: pip's own setting.
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help reproduce test lint lab classroom data matrix bench aggregates published report scrub clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PROFILE=$(PROFILE) (smoke, laptop or paper) sets the sizes of reproduce: make reproduce PROFILE=laptop"
	@echo "  JOBS=1 runs one notebook at a time where there would be several"

reproduce: $(STAMP)  ## run every notebook and its solutions without a screen; report: runs/PROFILE/index.html
	$(BIN)/python tools/run_notebooks.py --profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS))

test: $(STAMP)  ## run every test, every notebook and every solution
	$(BIN)/python -m pytest tests notebooks --nbval-lax --nbval-current-env --nbval-cell-timeout=600 --durations=10

lint: $(STAMP)  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(STAMP)  ## open the course in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=. notebooks/00_start_here.ipynb

classroom: $(STAMP)  ## write the course for nbgrader to a new folder: make classroom OUT=folder (docs/classroom.md)
	$(BIN)/python tools/classroom.py "$(OUT)"

data: $(STAMP)  ## download NES-MDB (from the folder LAKHNES_MIRROR if that is set)
	$(BIN)/lakhnes data fetch nesmdb-midi

matrix: $(STAMP)  ## run the tests on every supported Python and PyTorch that is here, and try the wheel
	$(BIN)/nox

bench: $(STAMP)  ## measure the figures that the README states
	@left=; for file in benchmarks/[a-z]*.py; do echo "$$file"; $(BIN)/python "$$file" --write || left="$$left $$file"; done; \
	  [ -z "$$left" ] || { echo "not measured, for the reasons above:$$left" >&2; exit 1; }

aggregates: $(STAMP)  ## measure the facts on NES-MDB and Lakh in assets/aggregates
	$(BIN)/python tools/aggregates/write_aggregates.py

published: $(STAMP)  ## fetch the authors' checkpoints, evaluate them, and print paper, measured, difference
	$(BIN)/python tools/published_checkpoints.py --write

report: $(STAMP)  ## write the README's tables, the pages and the model cards from results/
	$(BIN)/python tools/tables/write_pages.py

scrub: $(STAMP)  ## take outputs and editor metadata out of the notebooks before a commit
	$(BIN)/python tools/scrub.py

clean:  ## remove the environment and the caches; runs and data stay
	rm -rf $(VENV) .nox build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info[:3] < (3, 15))' 2>/dev/null || \
	  { echo "$(PYTHON) is not Python 3.11.4 to 3.14; name one that is: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) lacks venv; on Debian and Ubuntu the package python3-venv brings it" >&2; exit 1; }
	@echo "Building the environment in $(VENV): a few minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' requirements.txt)"
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps --editable .
	@touch $@
