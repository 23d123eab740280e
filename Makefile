# Everything runs in .venv, which is made on first use. `make help` lists the targets.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.jepa_ros_installed
# The first Python that will do; choose another with PYTHON=.
PYTHON ?= $(or $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p .ci/preflight.py >/dev/null 2>&1 && echo $$p && break; done),python3)
# `make demo DEMO_ARGS="--episodes 3"`, `make test TEST_ARGS="-k gate"`
DEMO_ARGS ?=
TEST_ARGS ?=
# PyTorch for machines without an NVIDIA GPU is a tenth of the size: give its CPU index here (see pytorch.org).
TORCH_INDEX ?=
CONSTRAINTS := .ci/constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# A sourced ROS workspace must not mix with the wheels, nor an outer Python environment with .venv.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH
unexport VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE

.DEFAULT_GOAL := help
.PHONY: help demo test lint install packages clean distclean

help:           ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1@\2/p' $(MAKEFILE_LIST) | \
	  while IFS=@ read -r target does; do printf 'make %-10s %s\n' "$$target" "$$does"; done
	@echo 'variables: PYTHON= (3.10 to 3.13)  DEMO_ARGS=  TEST_ARGS=  TORCH_INDEX= (PyTorch'\''s CPU index)'

demo: $(STAMP)  ## set everything up and drive the simulated robot; pictures and report in build/demo
	$(BIN)/jepa-ros demo $(DEMO_ARGS)

# Tests of single parts share the cores; those of processes and real time have the machine to themselves.
PARTS := $(patsubst %,test/%,actor benchmark configurator cost energy interop memory perception training world_model)
ALONE := $(foreach part,$(PARTS),--ignore=$(part))

test: lint      ## set everything up, check style, imports and types, run the tests
ifeq ($(strip $(TEST_ARGS)),)
	@failed=; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(nproc) --maxprocesses 4 --dist loadfile $(PARTS) || failed=1; \
	$(BIN)/python -m pytest $(ALONE) || failed=1; \
	[ -z "$$failed" ]
else
	$(BIN)/python -m pytest $(TEST_ARGS)
endif

lint: $(STAMP)  ## style, import directions, types
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

packages: $(STAMP)  ## build with pip and with colcon from scratch and check what they install
	$(BIN)/python -m pytest -m slow test/packaging $(TEST_ARGS)

install: $(STAMP)   ## only set .venv up

$(BIN)/python:
	@$(PYTHON) .ci/preflight.py
	$(PYTHON) -m venv $(VENV)

# PyTorch first and once: a version that is already there stays, except in CI.
INSTALLED_FROM := pyproject.toml setup.py setup.cfg CMakeLists.txt package.xml $(CONSTRAINTS) \
	$(wildcard cmake/* msg/*.msg srv/*.srv action/*.action)
$(STAMP): $(INSTALLED_FROM) | $(BIN)/python
	@set -e; constraint=; index=; \
	if [ -n "$$CI" ] || ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
	  constraint='-c $(CONSTRAINTS)'; \
	  if [ -n '$(TORCH_INDEX)' ]; then index='--extra-index-url $(TORCH_INDEX)'; fi; \
	  echo "installing PyTorch $$index"; $(PIP) install -q $$constraint $$index torch; \
	fi; \
	echo 'installing jepa_ros and its dependencies'; $(PIP) install -q $$constraint -e '.[test]'
	@touch $@

clean:          ## remove what was built, keep .venv
	rm -rf build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

distclean: clean    ## remove .venv too
	rm -rf $(VENV) jepa_ros/msg jepa_ros/srv jepa_ros/action jepa_ros/*.so
