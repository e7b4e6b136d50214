SHELL := bash
.SHELLFLAGS := -o pipefail -c
# The first that runs; TensorFlow has no wheels for others.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c "" 2>/dev/null && break; done; echo $$p)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
DOCS := .venv-docs
DOCS_READY := $(DOCS)/.ready
SUPPLY := .venv-supply
SUPPLY_READY := $(SUPPLY)/.ready

.PHONY: help setup fit app release test lint docs images lock licences sbom clean

MAPS := ../shared/data/wm811k/wm811k_full_dev.npz ../shared/data/wm811k/wm811k_none_extra.npz
MIXED := ../shared/data/mixedwm38/mixedwm38_dev.npz

help:
	@echo "make fit    set up, then train on the built-in maps (some minutes of training on two cores)"
	@echo "make app    set up, then open the web page with the model in models/wafer"
	@echo "make release  set up, then train, quantize and gate models/ anew from MAPS (an hour or some, by the machine)"
	@echo "make test   set up, then run the tests"
	@echo "make setup  make .venv with everything pinned (3.6 GB, some three minutes), and the command .venv/bin/wafer-tf"
	@echo "make lint   ruff and mypy"
	@echo "make images build both container images, also without an engine or a registry (tools/images.sh)"
	@echo "make docs   the documents as a site, in site/, with an environment of its own (240 MB); a dead link ends it"
	@echo "make lock   write the .lock files anew from constraints.txt and requirements*.txt (some four minutes)"
	@echo "make licences  list the licences of what is installed in docs/reference/licences.md; one not allowed ends it"
	@echo "make sbom   list what is installed, and what a station needs, as CycloneDX in sbom/"
	@echo "make clean  remove the environments (runs/ stays)"

setup: $(READY)

$(READY): requirements.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; got $$($(PYTHON) --version 2>&1). Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing what it needs into $(VENV): 3.6 GB, some three minutes" >&2
	@$(RUN) -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements-dev.lock | \
		awk '/^Collecting/ { printf "\r%d packages found", ++n; fflush() } /^Installing/ { print ", now installing them"; fflush() }' >&2
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

fit: $(READY)
	$(RUN) -m training.fit

app: $(READY)
	$(RUN) -m app

release: $(READY)
	$(RUN) -m training.release --data $(MAPS) --mixed $(MIXED) --bundle-version $$(date +%Y%m%d)

test: $(READY)
	$(RUN) -m pytest

lint: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

images:
	tools/images.sh

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo "open site/index.html; to search it: python3 -m http.server --directory site"

$(DOCS_READY): requirements-docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $(DOCS_READY)

lock: $(SUPPLY_READY)
	$(SUPPLY)/bin/python -m tools.lock

licences: $(READY)
	$(RUN) -m tools.licences

CYCLONEDX := $(SUPPLY)/bin/cyclonedx-py
AS_JSON := --pyproject pyproject.toml --mc-type application --output-format JSON --output-reproducible

sbom: $(READY) $(SUPPLY_READY)
	mkdir -p sbom
	$(CYCLONEDX) environment $(AS_JSON) --output-file sbom/wafer_tf.cdx.json $(RUN)
	$(CYCLONEDX) requirements $(AS_JSON) --output-file sbom/station.cdx.json requirements-station.lock

$(SUPPLY_READY): requirements-supply.lock
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-supply.lock
	@touch $(SUPPLY_READY)

clean:
	rm -rf $(VENV) $(DOCS) $(SUPPLY)
