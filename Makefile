# make demo      the whole job on a synthetic cohort: no data, no download of weights
# make test      the tests
# make bench     speed and accuracy beside other programs (some hours; each script of tests/bench also runs alone)
# make man       the man pages, from the commands' options and man/src
# make install   the commands and man pages, into the current Python environment
#
# VENV=DIR keeps the environment elsewhere; PYTHON=python3.12 picks the interpreter; JOBS=8 uses more cores.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test bench lint man install clean

demo: $(VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" JOBS=$(JOBS) examples/demo.sh demo

test: $(VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

bench: $(VENV)/.installed
	for script in tests/bench/*.py; do \
	  echo "== $$script"; PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python $$script || exit 1; \
	done

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

man: $(VENV)/.installed
	$(BIN)/python man/build.py

install:
	$(PYTHON) -m pip install .

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .ruff_cache
