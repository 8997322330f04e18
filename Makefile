# `make help` lists what there is. Nothing is needed but Python 3.11 to 3.13, git and make.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
READY  := $(VENV)/ready

# Stages start many processes: compiled bytecode saves each of them seconds.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONUNBUFFERED := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

TWELVE := natural, sat, trades, rslad, adaad, frl, bat, cfa, fair_ard, fair_rslad, absld, absld_adv
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help setup demo demo-all test test-slow check bench bench-slow lint format schema lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## the environment alone, in .venv, from requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## the whole pipeline on 8x8 digits: teacher, RSLAD and ABSLD students, AutoAttack, ONNX, report
	$(BIN)/absld repro --profile digits

demo-all: $(READY)  ## the same with twelve methods, for half an hour on two cores
	$(BIN)/absld repro --profile digits --set "runs.methods=[$(TWELVE)]"

test: $(READY)  ## the tests, in minutes
	$(TESTS) -n 2

test-slow: $(READY)  ## kills, resumes, faults, parity
	$(TESTS) -n 2 --dist loadscope -m slow

check: lint test  ## all that must hold

bench: $(READY)  ## how fast the engines are, on a quiet machine, in a quarter of an hour; see docs/performance.md
	$(BIN)/python -m benchmarks.run

bench-slow: $(READY)  ## the other pairs of networks, epochs, AutoAttack, two processes; an hour and more
	$(BIN)/python -m benchmarks.run --slow

lint: $(READY)  ## format, lint, types, import contracts, parameters, dvc.yaml against stages/contracts.py
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=src:. $(BIN)/lint-imports
	$(BIN)/absld params check
	$(TESTS) -q tests/test_stages.py

format: $(READY)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(READY)  ## write pipeline/params.schema.json from the parameter classes
	$(BIN)/absld params schema pipeline/params.schema.json

lock: $(READY)  ## resolve requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group dev pyproject.toml -o requirements.lock

clean:  ## remove all that can be made again; the environment, promotions.jsonl and params.yaml.kept-* stay
	rm -rf code data models runs evaluations reports dvc_plots logs .absld mlflow.db* mlruns .dvc/cache .dvc/tmp dvc.lock
