# Everything runs in a virtual environment of its own; only make and a Python >= 3.11 are needed.
#
#   make demo       the main job, on RANKS=2 ranks; its files go to build/demo
#   make test       the tests, once per number of ranks in RANKS="1 2 3 4"
#   make lint       ruff and mypy
#   make coverage   the tests under coverage, combined over all ranks
#   make conformance  data-apis/array-api-tests, 1 to 4 ranks by 4 splits; see array-api-tests/
#   make nightly    the tests at 7 ranks too, with more Hypothesis examples, and make conformance
#   make state-machine  STEPS=10000 random steps of each machine of tests/core/test_state_machine.py
#   make bench      the benchmarks
#   make clean      remove the environment and all that was built
#
# PYTEST_ARGS goes to pytest:      make test RANKS=2 PYTEST_ARGS="tests/core/test_layout.py -x"
# PIP_ARGS goes to pip install:    make test PIP_ARGS="--extra-index-url URL"
# CONFORMANCE_ARGS to its runner:  make conformance CONFORMANCE_ARGS="--ranks 2 --splits 0"
# With the site's own MPI instead of the wheel (mpi4py is then best built against it):
#                                  make test EXTRAS=test,dev MPIRUN=mpirun

VENV        ?= .venv
EXTRAS      ?= mpich,test,dev
PIP_ARGS    ?=
PYTEST_ARGS ?=
CONFORMANCE_ARGS ?=
RANKS       ?= 1 2 3 4
STEPS       ?= 10000
# Seconds that one mpirun may take (seen by mpich's launcher; each test has a limit of its own).
TIMEOUT     ?= 2400

PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
MPIRUN ?= $(VENV)/bin/mpirun
# The first of these that is new enough, or the one that was given.
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)

export MPIEXEC_TIMEOUT = $(TIMEOUT)

.PHONY: demo test lint coverage conformance nightly state-machine bench clean

$(STAMP): pyproject.toml constraints.txt tests/real-files.txt
	@set -e; python=; \
	for candidate in $(CANDIDATES); do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "make: no Python >= 3.11 among: $(CANDIDATES); name one: make PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$($$python --version) ..."; \
	rm -rf $(VENV); \
	if ! $$python -m venv $(VENV) >/dev/null 2>&1; then \
	    rm -rf $(VENV); \
	    $$python -m venv --without-pip $(VENV); \
	    $$python -m pip --python $(PY) install --quiet pip; \
	fi
	$(PY) -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[$(EXTRAS)]'
	$(PY) -m pip install --quiet $(PIP_ARGS) --no-deps -r tests/real-files.txt
	@touch $@

# Target-specific values give way to those of the command line.
demo: RANKS := 2
demo: $(STAMP)
	@mkdir -p build/demo
	$(MPIRUN) -n $(RANKS) $(PY) -m heat_array_api.demo --output build/demo

test: $(STAMP)
	@failed=; \
	for ranks in $(RANKS); do \
	    echo "== pytest on $$ranks ranks"; \
	    $(MPIRUN) -n $$ranks $(PY) -m pytest $(PYTEST_ARGS) || failed="$$failed $$ranks"; \
	done; \
	if [ -n "$$failed" ]; then echo "make test: failed on these numbers of ranks:$$failed" >&2; exit 1; fi

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

coverage: $(STAMP)
	@rm -rf build/coverage; mkdir -p build/coverage
	@set -e; for ranks in $(RANKS); do \
	    echo "== pytest under coverage on $$ranks ranks"; \
	    $(MPIRUN) -n $$ranks $(PY) -m coverage run -m pytest $(PYTEST_ARGS); \
	done
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

# What has a result already is not run again: CONFORMANCE_ARGS=--rerun does.
conformance: $(STAMP)
	$(PY) array-api-tests/run.py --mpirun "$(MPIRUN)" $(CONFORMANCE_ARGS)

nightly: $(STAMP)
	@failed=; \
	HEAT_ARRAY_API_TEST_SPREAD=0 HEAT_ARRAY_API_TEST_EXAMPLES=200 HEAT_ARRAY_API_TEST_TIMEOUT=600 \
	HEAT_ARRAY_API_TEST_STEPS=$(STEPS) \
	    $(MAKE) test RANKS="1 2 3 4 7" TIMEOUT=14400 || failed="$$failed test"; \
	$(MAKE) conformance || failed="$$failed conformance"; \
	if [ -n "$$failed" ]; then echo "make nightly: failed:$$failed" >&2; exit 1; fi

state-machine: RANKS := 1 2 3 4 7
state-machine: $(STAMP)
	HEAT_ARRAY_API_TEST_STEPS=$(STEPS) $(MAKE) test RANKS="$(RANKS)" \
	    PYTEST_ARGS="tests/core/test_state_machine.py $(PYTEST_ARGS)"

bench: $(STAMP)
	$(MPIRUN) -n 1 $(PY) benchmarks/overhead.py
	$(MPIRUN) -n 2 $(PY) benchmarks/overhead.py
	$(PY) benchmarks/scaling.py
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) benchmarks/workloads.py
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PY) benchmarks/files.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find heat_array_api tests -name __pycache__ -type d -prune -exec rm -rf {} +
