# Every target sets up what it needs by itself, in .venv, from requirements.lock.

PYTHON ?= python3
BIN := .venv/bin
STATE := .state
# Tests wait for servers and processes as much as they compute. One store serves all.
SIDE_BY_SIDE := -n 5 --no-loadscope-reorder

# Where this is set, each of the hundreds of processes of a test run would compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run up up-dask gallery lint test check attack coverage test-stores test-readers test-ray bench docs format lock hooks clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' Makefile


run: .venv/installed  ## the main job: the sample data set, delivered into the embedded store as a Prefect flow run
	$(BIN)/python -m imagehaul.local.quickstart $(STATE)

up: .venv/installed  ## store, Prefect server, worker and deployments, until Ctrl-C; all that they keep is in .state
	$(BIN)/python -m imagehaul.local.up $(STATE) prefect.yaml

up-dask: .venv/installed  ## the embedded store, a Dask scheduler and two workers; the sample is delivered by them
	$(BIN)/python -m imagehaul.local.up_dask $(STATE)

gallery: .venv/installed  ## what `make run` delivered, in a browser, until Ctrl-C
	$(BIN)/python -m imagehaul.local.gallery $(STATE)

LINT = $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

lint: .venv/installed  ## ruff, mypy and the rules of who may import whom
	$(LINT)

# Both at once, since tests mostly wait. What the checks say comes last, and whole.
test: .venv/installed  ## all tests and checks
	@mkdir -p $(STATE)
	@{ $(LINT); } >$(STATE)/lint.log 2>&1 & checks=$$!; \
	    $(BIN)/pytest $(SIDE_BY_SIDE) -m "not attack"; tests=$$?; \
	    wait $$checks; checks=$$?; cat $(STATE)/lint.log; exit $$((tests | checks))

check: lint  ## what `make test` runs, but for the slow tests
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow and not prefect and not attack"

attack: .venv/installed  ## the long attacks: kills at many moments (KILLS=25 for each engine), and whatever else takes minutes
	$(BIN)/pytest -s -m attack

coverage: .venv/installed  ## which branches the tests of `make test` take; writes .state/coverage/index.html
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not attack" --cov --cov-report=term --cov-report=html:$(STATE)/coverage

# The peers live in environments of their own: awscli wants another botocore than s3fs does, img2dataset older packages.
bench: .venv/installed $(if $(filter-out cores,$(or $(PARTS),all)),.venv-bench/installed .venv-img2dataset/installed)  ## imagehaul and its peers on the same work; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run $(PARTS)

.venv-bench/installed: .venv/installed
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check awscli pyvips-binary pyvips
	touch $@

.venv-img2dataset/installed: .venv/installed
	$(PYTHON) -m venv .venv-img2dataset
	.venv-img2dataset/bin/python -m pip install --quiet --disable-pip-version-check img2dataset s3fs
	touch $@

# What each store can do is found out by trying; tests that need more are left out there, and pytest says which.
ON_STORES := $(BIN)/pytest -n 6 --no-loadscope-reorder -m "every_store and not attack and not prefect"
VERSIONED_TESTS := tests/store/test_conditional_writes.py tests/ledger tests/delivery

test-stores: .venv/installed  ## what is marked `every_store`, on Ceph, its buckets with versions, and Swift (Debian's packages)
	$(ON_STORES) --object-store ceph
	$(ON_STORES) --object-store ceph-versioned $(VERSIONED_TESTS)
	$(ON_STORES) --object-store ceph-suspended $(VERSIONED_TESTS)
	$(ON_STORES) --object-store swift

# What reads the exports needs other versions of what imagehaul needs, and nothing of imagehaul.
test-readers: .venv/installed .venv-readers/installed  ## each export loads in the tool that it is for
	rm -rf $(STATE)/readers
	$(BIN)/python -m tests.readers.prepare .venv-readers/bin/python $(STATE)/readers

.venv-readers/installed: .venv/installed
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/python -m pip install --quiet --disable-pip-version-check \
	    pytest pillow pycocotools panlabel datasets s3fs webdataset mlcroissant daft duckdb pyyaml
	touch $@

# Ray is a quarter of a gigabyte, and nobody needs it who does not ask for TASK_RUNNER=ray.
test-ray: .venv/ray-installed  ## batches on a Ray cluster
	$(BIN)/pytest tests/delivery/runners/test_ray.py

.venv/ray-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'ray>=2.50'
	touch $@

docs: .venv/installed  ## the tables of the documentation that are made from the code
	$(BIN)/python -m imagehaul.cli.reference docs

format: .venv/installed  ## the code, as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The lock holds plain requirement lines with hashes, for every platform, and no index address.
lock: .venv/installed  ## requirements.lock, from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock

hooks: .venv/installed  ## has git run what `make lint` runs before each commit
	$(BIN)/pre-commit install

clean:  ## removes the environment and what runs have kept
	rm -rf .venv $(STATE)

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "imagehaul needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# --no-deps: the lock is whole, and an older pip takes the extras of a locked package for a package of its own.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
