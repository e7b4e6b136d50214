PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup fit app release test lint clean

MAPS := ../shared/data/wm811k/wm811k_dev.npz
UNLABELLED := ../shared/data/wm811k/wm811k_unlabelled.npz

help:
	@echo "make fit    set up, then train on the built-in maps (under 8 minutes of training on two cores)"
	@echo "make app    set up, then open the web page with the model in models/wafer"
	@echo "make release  set up, then train, quantize and gate models/ anew from MAPS and UNLABELLED (some hours)"
	@echo "make test   set up, then run the tests"
	@echo "make setup  make .venv with everything pinned"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove .venv (runs/ stays)"

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed; got $$($(PYTHON) --version 2>&1). Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $(READY)

fit: $(READY)
	$(RUN) -m training.fit

app: $(READY)
	$(RUN) -m app

release: $(READY)
	$(RUN) -m training.release --data $(MAPS) --unlabelled $(UNLABELLED)

test: $(READY)
	$(RUN) -m pytest

lint: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV)
