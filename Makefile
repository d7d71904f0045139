# The two commands of the README, each alone on a fresh machine: `make demo`, `make test`.
# PYTHON chooses the interpreter (3.11 or newer), PIP_ARGS goes to every pip install.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= results

.DEFAULT_GOAL := help
.PHONY: help demo test check format fuzz audit bench soak walkthrough study clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "no virtual environment could be made (on Debian and Ubuntu: apt install python3-venv)"; exit 2; }

# torch and torchvision come from one place in one command: builds from different places do not fit together
$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## run the main job on the embedded data: install, train, score, log
	$(BIN)/salprobe run quickstart --out $(OUT)

# JOBS is how many processes share the tests, a file at a time: make test JOBS=0 for one that a debugger reaches
JOBS ?= logical
test: $(VENV)/.installed ## run the test suite
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist loadfile

check: $(VENV)/.installed ## lint and strict type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# FUZZ is how many inputs each reader is tried with: make fuzz FUZZ=10000
FUZZ ?= 1000
fuzz: $(VENV)/.installed ## try every reader of files with 1000 damaged inputs, other ones every time
	SALPROBE_FUZZ=$(FUZZ) $(BIN)/python -X faulthandler -m pytest tests/fuzz/test_fuzz.py --hypothesis-show-statistics

# an environment of its own: what looks for holes is no part of what is looked at
audit: $(VENV)/.installed ## look up known vulnerabilities of every installed package (needs the internet)
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit \
	  && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) pip-audit; } \
	  || { echo "nothing was looked up: pip-audit cannot be installed; is the package index in reach?"; exit 2; }
	@$(BIN)/python -m tests.audit $(VENV)/audit/bin/pip-audit

# BENCH narrows or changes a run: make bench BENCH="-k startup", make bench BENCH="--bench-images 64,16"
bench: $(VENV)/.installed ## run the benchmarks (half an hour on 2 cores) and publish them
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-columns=median,rounds \
	  --publish-to reports/published $(BENCH)

soak: $(VENV)/.installed ## small matrices again and again, half an hour (MINUTES=30): does memory stay flat?
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) --out reports/published

# on the embedded data, so that everybody gets the same pages
walkthrough: $(VENV)/.installed ## run the walkthrough notebook and publish it as Markdown with its pictures
	rm -rf reports/published/walkthrough
	env -u SALPROBE_TEST_DATA $(BIN)/python -m nbconvert --to markdown --execute experiments/walkthrough.ipynb \
	  --output-dir $(CURDIR)/reports/published/walkthrough

# SALPROBE_DATA names the folder with osie640 and salicon71; finished cells are reused
study: $(VENV)/.installed ## run the whole study (five to six hours on 2 cores) and write it up
	$(BIN)/salprobe run study --out $(OUT)
	$(BIN)/python -m reports.writeup $(OUT) --out reports/published/study

clean: ## remove the environment and caches, keep results
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
