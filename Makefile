# The two commands:  make demo   make test      (each sets up whatever is missing)
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
OUT    ?= runs/digits-seed0

# Bytecode is kept: the tests start many processes, and each would compile all of it again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-slow test-elsewhere check fix bench bench-smoke harness setup clean

demo: $(VENV)/ready
	$(BIN)/vergence demo --out $(OUT)

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m slow --timeout 3600

# As other machines run it: other instruction sets, two threads, the oldest and newest versions. About an hour.
test-elsewhere: $(VENV)/ready-dev
	bash scripts/test_elsewhere.sh

check: $(VENV)/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(VENV)/ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Against TRL, in an environment of its own (benchmarks/README.md). All of it: about an hour on two quiet cores.
bench: $(VENV)/ready .bench/peer/ready .bench/models/ready
	$(BIN)/python -m benchmarks.equality
	$(BIN)/python -m benchmarks.compare --stock
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.digits

SMOKE = --results .bench/smoke/results.json --page .bench/smoke/speed.md
bench-smoke: $(VENV)/ready .bench/peer/ready .bench/models/ready-smoke
	$(BIN)/python -m benchmarks.equality --families llava $(SMOKE)
	$(BIN)/python -m benchmarks.compare --configs G1 --pairs 2 $(SMOKE)

# An external evaluation harness (lm-eval), in an environment of its own: tests/slow/test_harness.py needs it.
harness: .harness/ready

setup: $(VENV)/ready-dev

# A marker file is touched only when everything before it succeeded, so an interrupted set-up is simply repeated.
$(VENV)/ready: scripts/setup.sh constraints.txt pyproject.toml
	PYTHON=$(PYTHON) bash scripts/setup.sh $(VENV)
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	PYTHON=$(PYTHON) bash scripts/setup.sh $(VENV) dev
	touch $@

.bench/peer/ready: benchmarks/setup_peer.sh benchmarks/peer-constraints.txt
	PYTHON=$(PYTHON) bash benchmarks/setup_peer.sh .bench/peer --vision
	touch $@

.harness/ready: scripts/setup_harness.sh scripts/harness-constraints.txt
	PYTHON=$(PYTHON) bash scripts/setup_harness.sh .harness
	touch $@

.bench/models/ready: benchmarks/models.py benchmarks/configs.py | $(VENV)/ready
	$(BIN)/python -m benchmarks.models
	touch $@ .bench/models/ready-smoke

.bench/models/ready-smoke: benchmarks/models.py benchmarks/configs.py | $(VENV)/ready
	$(BIN)/python -m benchmarks.models G1 tiny-llava
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
