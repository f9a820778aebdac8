# The targets of a developer; `make` alone prints them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test test-fast soak check image-test bench format
help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## make the environment in .venv

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gcp,test]'
	@touch $@

demo: setup  ## embed a few sounds and show the result
	$(BIN)/yamnet-beam demo

test: setup  ## run all tests
	$(BIN)/pytest

test-fast: setup  ## run the tests that need neither TensorFlow nor Beam
	$(BIN)/pytest -m "not slow"

soak: setup  ## 300 clips on every engine, workers killed meanwhile, three nights with BigQuery (15 minutes; Java, Maven, Go)
	$(BIN)/pytest tests/engines/soak.py

check: setup  ## format, lint, types, import floors, tests: the whole truth
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

image-test: setup  ## replay deploy/Dockerfile and run a job from what it makes (minutes; root)
	$(BIN)/pytest -m image tests/deploy

bench: $(VENV)/.benchmarks  ## measure against the naive pipeline
	$(BIN)/python tests/benchmarks/run.py

$(VENV)/.benchmarks: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gcp,test,bench]'
	@touch $@

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
