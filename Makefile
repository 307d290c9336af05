PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test research lint types contract sanitize docs site segmentors clean

help:  ## Show this list (the default).
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F '|' '{ printf "make %-10s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## Install everything below into .venv, once.

# Torch is installed by the same command as all the rest, so that the constraints choose its build.
# The light extras are here, so that `make test` tests them; .ci/extras tests the heavy ones.
# --compile: torch and MONAI import slowly without their bytecode, which
# PYTHONDONTWRITEBYTECODE would keep from being written later.
$(STAMP): pyproject.toml constraints.txt $(wildcard csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "HiDiff needs Python 3.11 or newer, but '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1). Name one: make setup PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --compile -c constraints.txt \
	  -e '.[app,demo,dicom,docs,efficientnet,formats,hub,onnx,track,unetr,dev]'
	@touch $@

demo: setup  ## Train, refine and draw a small example from start to end.
	$(BIN)/hidiff demo --overwrite
	@echo "To type hidiff instead of $(BIN)/hidiff, type once in this shell:  . $(BIN)/activate"

# Two workers of one thread each are faster than one worker of two.
test: setup  ## Run all tests of the library.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --ignore tests/research

research: setup  ## Check research/: style, scripts, index, and that the pages are what the rows say.
	$(BIN)/ruff check research tests/research
	$(BIN)/ruff format --check research tests/research
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests/research

lint: setup  ## Check style and formatting.
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup  ## Check types.
	$(BIN)/pyright --pythonpath $(BIN)/python

contract: setup  ## Check that each layer imports only the layers under it.
	$(BIN)/lint-imports --no-logo

docs: setup  ## Make every page and number again that comes from the code or from research/.
	COLUMNS=100 $(BIN)/hidiff settings > docs/recipe.md
	$(BIN)/hidiff data list --markdown > docs/data.md
	$(BIN)/python research/pages/results_page.py
	$(BIN)/python research/pages/evidence.py
	$(BIN)/python research/pages/why_page.py
	$(BIN)/python research/pages/packed_page.py
	$(BIN)/python research/pages/speed_page.py
	$(BIN)/python research/pages/organs_page.py

site: setup  ## Build the documentation site into site/, and check every link.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

# An environment of its own, as torchvision, which timm asks for, must stay out of the other.
segmentors:  ## Measure every segmentor, and write the table of docs/segmentors.md anew.
	$(PYTHON) -m venv build/segmentors
	build/segmentors/bin/python -m pip install -q --compile -c constraints.txt \
	  -e '.[smp,timm,transformers,unetr]'
	build/segmentors/bin/python research/speed/segmentors.py

sanitize:  ## Test the kernels for bad memory access and undefined behaviour, and on an emulated Arm.
	@.ci/sanitize

clean:  ## Remove the environment and every cache.
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
