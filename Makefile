# One way to do each thing. Everything is installed into .venv, pinned with hashes.
PYTHON ?= python3
BIN := .venv/bin
# Half of a test's time is waiting: for a service's start, a heartbeat, a timeout.
WORKERS ?= $(shell echo $$(( $$(nproc) * 3 / 2 )))

.PHONY: demo test lint format bench bench-latency bench-import bench-door bench-night bench-takeover lock clean

demo: .venv/.installed   ## the main job on sample data, from a key pair to the receipts
	$(BIN)/landingzone demo

test: lint               ## everything that CI runs
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -q

lint: .venv/.installed   ## ruff, mypy strict, the arrows of the design
	$(BIN)/ruff check -q
	$(BIN)/ruff format -q --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/.installed ## put the code into its form
	$(BIN)/ruff check -q --fix-only
	$(BIN)/ruff format -q

bench: bench-latency bench-import bench-door ## the paired benchmarks; each prints a table

bench-latency: .venv/.installed ## from the client's close to the receipt
	$(BIN)/python bench/latency.py

bench-import: .venv/.bench ## rows per second and peak memory of an import, beside the peers; ROWS=35000000 on demand
	$(BIN)/python bench/import_speed.py $(ROWS)

bench-takeover: .venv/.installed ## a large import whose processor is killed; TAKEOVER="3500000 postgresql"
	$(BIN)/python bench/takeover.py $(TAKEOVER)

bench-door: .venv/.installed ## the front door beside OpenSSH's sshd; DOOR="--quick uploads" for a part in small
	$(BIN)/python bench/door.py $(DOOR)

bench-night: .venv/.installed ## a night of FACTOR (0.02) x 5,000 districts; NIGHT="--accounts 100,1000,5000 --database sqlite"
	$(BIN)/python bench/night.py --factor $(or $(FACTOR),0.02) $(NIGHT)

.PHONY: bench-tonight
bench-tonight: .venv/.installed ## the console's page Tonight over 5,000 accounts and a month of runs; TONIGHT="--database sqlite"
	$(BIN)/python bench/tonight.py $(TONIGHT)

.PHONY: bench-upload
bench-upload: .venv/.installed ## sending over a slow and far link, beside OpenSSH's sftp (root, iproute2); UPLOAD="1024 3": MiB, rounds
	$(BIN)/python bench/upload_speed.py $(UPLOAD)

.PHONY: deaths
deaths: .venv/.installed ## the import's process killed at every moment of a run; `make test` has some of them
	EVERY_DEATH=1 $(BIN)/pytest -q tests/processor/test_killed_processor.py

.PHONY: docs
docs: .venv/.installed   ## docs/reference, from what the code declares
	$(BIN)/python tests/docs/generate.py

.PHONY: fuzz
fuzz: .venv/.installed   ## each fuzz target for SECONDS (600), by its coverage; the short form is in the tests
	$(BIN)/python tests/fuzz/run.py all -max_total_time=$(or $(SECONDS),600)

.PHONY: chaos
chaos: .venv/.installed  ## doors, processors, database, disk and network meet with trouble under load: SECONDS (300), SEED (1)
	$(BIN)/python tests/chaos/run.py --seconds $(or $(SECONDS),300) --seed $(or $(SEED),1)

lock:                    ## pin anew what pyproject.toml asks for (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra server --extra console pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras pyproject.toml --group bench -c requirements-dev.lock -o requirements-bench.lock

.venv/.bench: .venv/.installed requirements-bench.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || bash deploy/make-venv $(PYTHON) .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: screenshots
screenshots: .venv/.installed ## docs/images: the console's pages (needs Debian's chromium)
	$(BIN)/python tests/console/screenshots.py
