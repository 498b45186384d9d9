# Two commands are all a new machine needs: `make demo` and `make test`. Both make the environment they run in.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A tritonserver for Linux x86-64 (55 MB), which tests serve repositories on. Without what the wheel asks for: that holds
# numpy below 2, and its own Python code is not used.
TRITON := 'nvidia-pytriton>=0.7,<0.8'
# KServe's own types, which its manifests must fit (0.6 MB): read as they lie, so without what they import (400 MB).
KSERVE := 'kserve>=0.14,<1'

# Where it is set, every process that the tests start compiles all it imports anew, and pytest all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check suite gpu-check clean

demo: $(VENV)/.installed
	$(BIN)/optimize demo --force

# Side by side: mypy takes half a minute of one core.
test: $(VENV)/.installed-dev
	$(MAKE) --jobs 2 check suite

# Three processes on two cores: some two minutes of the tests are spent waiting for what hangs, is paced or times out.
suite: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 --dist worksteal -rs

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

# With a pip of today: that of Python 3.11 (23.2) takes twice the processor time to find and unpack the same packages.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$@ -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[rtx]'
	touch $@

# Not compiled: of 11,600 modules the few that are used are when they are first imported, by both cores.
$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[rtx,serve,sign,fleet,workloads,dev]'
	$(BIN)/python -m pip install --quiet --no-compile --no-deps $(TRITON) $(KSERVE) || \
		$(BIN)/python -m pip install --quiet --no-compile --no-deps $(KSERVE) || \
		echo "no tritonserver, or no types of KServe, for this machine: their tests are skipped"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist
