# `make demo` and `make test` are all a newcomer needs; both set up what they need.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test experiment lint clean

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3 python3-venv && $(MAKE) $@; \
		else echo "ratchet: needs Python 3.11 or later with venv; run: sudo apt-get install python3 python3-venv" >&2; exit 2; fi; \
	else \
		$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --upgrade "pip>=25.2" && \
		$(BIN)/python -m pip install torch==2.13.0 && \
		$(BIN)/python -m pip install -e '.[test]' --group lint tox tox-current-env && touch $@; \
	fi

setup: $(VENV)/.ready ## Make the environment, an engine, the images, and fetch the model and the data
	$(BIN)/ratchet doctor --fix

demo: setup ## Three generations on each task, in 12 to 16 minutes on two cores
	$(BIN)/ratchet run --preset demo $(ARGS)

# What tox.ini says, in the environment that is there: one of its own would be another 3.5 GiB.
TOX := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/tox run --current-env

test: setup ## The whole test suite: lint, types, tests, evaluation of the seeds
	$(TOX) $(ARGS)

experiment: setup ## Harness, weights, both: hours; it resumes. ARGS="--minutes 30" for a sitting
	$(BIN)/python -m feedback.experiments.levers $(ARGS)

lint: $(VENV)/.ready ## Only ruff, the import contracts and the types
	$(TOX) -e lint,types

clean: $(VENV)/.ready ## Remove what killed runs left behind
	$(BIN)/ratchet clean
