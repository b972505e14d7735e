# make demo      the whole job on a synthetic cohort: no data, no download of weights
# make test      the tests
# make coverage  the tests, and which lines of the package they run
# make lowest    the tests with the least version of each dependency (tests/lowest.txt)
# make dist      the source archive and the wheel, each installed and tested outside of this folder
# make stress    kills, faults and damaged files, over all commands: at most an hour (STRESS="--minutes 10", "--kind fuzz", "--only NAME --seed N")
# make lint      style, format and types
# make bench     speed and accuracy beside other programs (some hours; each script of tests/bench also runs alone)
# make man       the man pages, from the commands' options and man/src
# make install   the commands and man pages, into the current Python environment
# make release   check that this commit can be released, build what to upload, and test it
#
# VENV=DIR keeps the environment elsewhere; PYTHON=python3.12 picks the interpreter; JOBS=8 uses more cores;
# TESTS="-k n4" hands options to pytest.

PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
JOBS ?= 2
BIN := $(VENV)/bin
PYTEST := -m pytest -q -rs -n $(JOBS) --dist loadfile $(TESTS)

.PHONY: pages demo test coverage lowest dist bench stress lint man install release clean

demo: $(VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" JOBS=$(JOBS) examples/demo.sh demo

test: $(VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python $(PYTEST)

coverage: $(VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python $(PYTEST) --cov --cov-report=term --cov-report=xml

# What old libraries deprecate, and what new ones deprecate in old ones, is not ours: no warning fails here.
lowest: $(LOWEST)/.installed
	PATH="$(abspath $(LOWEST))/bin:$$PATH" $(LOWEST)/bin/python $(PYTEST) -W default

dist: $(VENV)/.installed
	rm -rf dist build
	$(BIN)/python -m build
	PYTHON=$(PYTHON) JOBS=$(JOBS) .ci/dist dist $(TESTS)

bench: $(VENV)/.installed
	for script in tests/bench/*.py; do \
	  echo "== $$script"; PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python $$script || exit 1; \
	done

# Best as root, on Linux: only root can make small file systems, and be another user.
stress: $(VENV)/.installed
	cd tests && $(abspath $(BIN))/python -m stress -j $(JOBS) $(STRESS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

man: $(VENV)/.installed
	$(BIN)/python man/build.py

install:
	$(PYTHON) -m pip install .

release: $(VENV)/.installed
	.ci/release
	$(MAKE) dist
	if command -v twine > /dev/null; then twine check --strict dist/*; else echo "no twine at hand to check dist/ with"; fi

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): some 2.6 GB to download, 7 GB on the disk (most of it PyTorch with CUDA), minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(MAKE) --no-print-directory pages
	touch $@

# What pip puts beside the commands of an installed package, and leaves out of one that is edited in place.
pages:
	for page in man/*.[157]; do \
	  mkdir -p $(VENV)/share/man/man$${page##*.} && ln -sf "$(CURDIR)/$$page" $(VENV)/share/man/man$${page##*.}/; \
	done
	mkdir -p $(VENV)/share/bash-completion/completions $(VENV)/share/zsh/site-functions $(VENV)/share/fish/vendor_completions.d
	ln -sf "$(CURDIR)/completion/oatools.bash" $(VENV)/share/bash-completion/completions/
	ln -sf "$(CURDIR)/completion/oatools.zsh" $(VENV)/share/zsh/site-functions/
	ln -sf "$(CURDIR)/completion/oatools.fish" $(VENV)/share/fish/vendor_completions.d/

$(LOWEST)/.installed: setup.cfg pyproject.toml tests/lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c tests/lowest.txt -e '.[test]'
	touch $@

clean:
	rm -rf demo build dist *.egg-info .coverage* coverage.xml .mypy_cache .pytest_cache .ruff_cache
