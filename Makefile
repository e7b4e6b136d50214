PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup fit test lint clean

help:
	@echo "make fit    set up, then train on the built-in maps (about 8 minutes of training on two cores)"
	@echo "make test   set up, then run the tests"
	@echo "make setup  make .venv with everything pinned"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove .venv (runs/ stays)"

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $(READY)

fit: $(READY)
	$(RUN) -m training.fit

test: $(READY)
	$(RUN) -m pytest

lint: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV)
