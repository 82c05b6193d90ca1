# Two commands do everything on a fresh machine: `make run` and `make test`.
# What they install goes into .venv and the user's cache (~/.cache/pipeline-bench); delete these to
# start over. Nothing else on the machine changes, and neither needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the environment is made of: it is made again when one of these changes.
STAMP := $(VENV)/.made-from-pyproject
ifndef RUN_DIR
RUN_DIR := runs/$(shell date +%Y%m%d-%H%M%S)
endif

# Of pytest: one more than two processors have, because tests wait for the processes they start.
PROCESSES ?= 3

.PHONY: help environment run study test check bench fuzz lint types clean

help:
	@echo 'make run     set up, then compare every framework that can run here; prints the report'
	@echo 'make study   the same with three seeds, tuned variants, inference and operations'
	@echo 'make test    set up, then lint, check types and run all tests'
	@echo 'make check   set up, then lint, check types and run the tests that train nothing'
	@echo 'make bench   set up, then measure the cost of the harness and the public styles'
	@echo 'make fuzz    set up, then read 100,000 damaged files of every format'
	@echo 'make clean   remove the virtual environment and caches'

# PyTorch first and alone, pinned by the constraints file: its dependencies then find it there
# and nothing pulls another build of it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo 'python3-venv is needed: apt-get install python3-venv'; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch,jax,julia,dev]'
	@touch $@

environment: $(STAMP)

# torch.compile writes C++; nothing is installed for it. The report names what is left out, and why.
.PHONY: compiler
compiler:
	@command -v g++ >/dev/null || command -v c++ >/dev/null || command -v clang++ >/dev/null \
		|| echo 'no C++ compiler: torch-compile will be left out'

# Into .venv or the user's cache; the system stays as it is.
.PHONY: julia
julia: $(STAMP)
	@$(BIN)/bench setup julia || echo 'no Julia: julia-reference and knet will be left out'

# One seed, more rounds than epochs, and a short proof: a first answer in minutes.
run: $(STAMP) compiler julia
	$(BIN)/bench run --frameworks torch,torch-compile,jax,knet,julia-reference --models lenet5 \
		--datasets digits --epochs 10 --rounds 20 --skip-unavailable --out $(RUN_DIR)

# The longer study: three seeds, the tuned variants, inference and operations, the whole proof.
study: $(STAMP) compiler julia
	$(BIN)/bench run --frameworks torch,torch-compile,jax,jax-s2d,knet,julia-reference --models lenet5 \
		--datasets digits --seeds 0,1,2 --skip-unavailable --inference --profile --no-parity --out $(RUN_DIR)
	$(BIN)/bench parity --run $(RUN_DIR)

test: $(STAMP) compiler julia lint
	$(MAKE) -j2 types tests

.PHONY: tests
tests: $(STAMP)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=15 -rs

# No Julia and no compiler is set up for these.
check: lint types
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/data tests/protocol tests/models tests/measure tests/results \
		tests/julia_setup tests/test_config.py tests/test_plan.py tests/test_plugins.py tests/test_vocabulary.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(STAMP)
	$(BIN)/mypy

# Timings, so never part of the tests: ratios, paired by round.
bench: $(STAMP) compiler
	$(BIN)/python -m pytest benchmarks/bench_overhead.py benchmarks/bench_peers.py \
		--datasets $${BENCH_DATASET:-digits} --batch-size 128

# Damaged files for every reader: FUZZ_RUNS inputs in all, by libFuzzer. Minutes.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet 'atheris>=3.0'
	$(BIN)/python tests/fuzz/fuzz.py $${FUZZ_RUNS:-100000}

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .benchmarks
