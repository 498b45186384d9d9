# Two commands are all a new machine needs: `make demo` and `make test`. Both make the environment they run in.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A tritonserver for Linux x86-64 (55 MB), which tests serve repositories on. Without what the wheel asks for: that holds
# numpy below 2, and its own Python code is not used.
TRITON := 'nvidia-pytriton>=0.7,<0.8'

.PHONY: demo test check gpu-check clean

demo: $(VENV)/.installed
	$(BIN)/optimize demo --force

test: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -n 2 --dist worksteal -rs

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# On a machine with an NVIDIA GPU: the main job on the demo, ResNet-50 and BERT-base, and a page of what their reports
# say, docs/measurements/<gpu>-<date>.md. Ends with 2, and says what is missing, where there is no GPU or no library
# that runs on one.
gpu-check: $(VENV)/.installed
	$(BIN)/python -m studies.gpu_check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[rtx]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[rtx,serve,sign,fleet,workloads,dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(TRITON) || echo "no tritonserver for this machine: its tests are skipped"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist
