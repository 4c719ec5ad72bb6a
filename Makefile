# Seven words for everything: run, test, check, bench, chaos, faults, docs; and clean. Each makes what it needs.
.PHONY: run test check bench chaos faults docs clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

run: $(READY)
	$(BIN)/headwater demo

# two at a time, file by file: much of it waits for processes
test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks

# Random kills, or with POINTS=1 every crash point; goes on where it was broken off.
KILLS ?= 50
BROKER ?= embedded
CHAOS_DIR ?= .chaos
chaos: $(READY)
	$(BIN)/python -m tests.chaos $(if $(POINTS),points,run --kills $(KILLS)) \
		--broker $(BROKER) --directory $(CHAOS_DIR) $(if $(SEED),--seed $(SEED)) \
		$(if $(BOOTSTRAP),--bootstrap $(BOOTSTRAP))

# the long ones too: three brokers, a minute without any, a million predictions, other examples in
# each property test; about forty minutes
faults: $(READY)
	HEADWATER_TEST_CHAOS=1 $(BIN)/python -m pytest -q

# into site/; to read it: python -m http.server --bind 127.0.0.1 --directory site
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find service tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and alone: it is the large one, and its build (CPU or CUDA) is the index's choice
$(READY): pyproject.toml constraints.txt
	@echo "Making $(VENV), once; torch is large, so this takes a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
		$$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt \
		-e '.[embedded,evaluate,dev]'
	touch $@
