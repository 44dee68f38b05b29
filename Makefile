# The two commands:  make demo   make test      (each sets up whatever is missing)
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
OUT    ?= runs/digits-seed0

.PHONY: demo test test-slow check fix setup clean

demo: $(VENV)/ready
	$(BIN)/vergence demo --out $(OUT)

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m slow --timeout 3600

check: $(VENV)/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(VENV)/ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(VENV)/ready-dev

# A marker file is touched only when everything before it succeeded, so an interrupted set-up is simply repeated.
$(VENV)/ready: scripts/setup.sh constraints.txt pyproject.toml
	PYTHON=$(PYTHON) bash scripts/setup.sh $(VENV)
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	PYTHON=$(PYTHON) bash scripts/setup.sh $(VENV) dev
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
