# Everything runs in .venv, which the first target that needs it makes.
#   make quickstart     the whole run on the built-in model
#   make test           all tests
#   make bench          decoding (on the run BENCH_RUN names), training and generation beside their peers
#   make check          format, lint, types, import layers
# PYTHON names another interpreter (3.11 or newer). PIP_ARGS is passed to pip, for a mirror or a CPU-only torch.
# QUICKSTART_ARGS is passed to the quickstart, such as QUICKSTART_ARGS="--benchmark bbh_dyck_languages.json".

PYTHON ?= python3
PIP_ARGS ?=
QUICKSTART_ARGS ?=
BENCH_RUN ?= runs/quickstart
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS) --constraint constraints.txt

.PHONY: quickstart test test-fast check format bench clean

quickstart: .venv/installed
	$(BIN)/dycktune quickstart $(QUICKSTART_ARGS)

test: .venv/installed-dev
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-fast: .venv/installed-dev
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow"

check: .venv/installed-dev
	$(BIN)/ruff format --check --no-cache .
	$(BIN)/ruff check --no-cache .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed-dev
	$(BIN)/python benchmarks/decode.py $(BENCH_RUN)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/generate.py

clean:
	rm -rf .venv

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		(echo "dycktune needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 2)
	$(PYTHON) -m venv .venv
	@touch $@

# torch comes first: with it in place, no other package's range can pull in a second build of it.
.venv/installed: .venv/python pyproject.toml constraints.txt
	@echo "installing into .venv (a few minutes the first time)"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable ".[dev,parquet]"
	@touch $@
