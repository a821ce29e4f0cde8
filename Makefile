# `make` lists the targets. Everything that they need is installed into .venv on first use.
.DEFAULT_GOAL := help
SHELL := /bin/sh
# With this variable, which many container images set, each process of pytest would compile all tests again.
unexport PYTHONDONTWRITEBYTECODE
PYTHON := .venv/bin/python
READY := .venv/ready
# Started by env without a shell, since a shell would not pass signals on to the command.
TASKS := env PYTHONPATH=tests:. $(PYTHON) -m embedded

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## serve on 127.0.0.1:8000; without DATABASE_URL on an embedded PostgreSQL
	@$(TASKS) run

token: $(READY) ## print a token: make token AS=alice
	@$(TASKS) token

psql: $(READY) ## start psql as one user: make psql AS=alice
	@$(TASKS) psql

migrate: $(READY) ## apply the migrations that are not applied yet, on MIGRATION_DATABASE_URL
	@$(TASKS) migrate

schema: $(READY) ## generate sql/schema.sql from the migrations
	@WRITE_SCHEMA=1 $(PYTHON) -m pytest -q -n0 tests/database/test_schema.py

rollback: $(READY) ## undo the newest applied migration
	@$(TASKS) rollback

migrations: $(READY) ## list the migrations, applied or pending
	@$(TASKS) migrations

audit: $(READY) ## report holes in the isolation of users; fail if there is one, to stop a deploy
	@$(TASKS) audit $(ARGS)

prove: $(READY) ## try statements that must not reach other users' rows; fail if one does
	@$(TASKS) prove

policies: $(READY) ## show which role may do what, by which grant and policy
	@$(TASKS) policies

report: $(READY) ## write report.html for an auditor: policies, findings, accepted findings, attempts
	@$(TASKS) report

test: $(READY) ## run the tests on PostgreSQL, without those marked long
	@$(PYTHON) -m pytest -m "not long"

cluster: $(READY) ## run the HTTP and cluster tests on Citus; needs PG_CONFIG of a PostgreSQL with Citus
	@CLUSTER=1 $(PYTHON) -m pytest -n0 -s tests/cluster tests/http

majors: $(READY) ## run the database tests and the API's statements on PostgreSQL 15, 16 and 17; needs Node
	@tests/majors/prepare
	@MAJORS="15 16 17" $(PYTHON) -m pytest tests/database tests/http/test_listing.py tests/http/test_tasks.py \
	  tests/http/test_retries.py

chaos: $(READY) ## inject faults for ten minutes and report the effects; QUICK=1: three minutes
	@PYTHONPATH=tests:. QUICK=$(QUICK) $(PYTHON) -W ignore tests/chaos/run.py $(ONLY)

lint: $(READY) ## check formatting, lint and types
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy

check: lint ## check formatting, lint and types, then run all tests
	@$(PYTHON) -m pytest

e2e: $(READY) ## run the tests with Better Auth and a browser; needs Node
	@tests/e2e/prepare
	@$(PYTHON) -m pytest tests/e2e/better_auth.py tests/e2e/clients.py tests/e2e/install.py

e2e-next: $(READY) ## build a Next.js app on the API as app/api/README.md describes; five minutes
	@tests/e2e/prepare
	@$(PYTHON) -m pytest tests/e2e/next_app.py

bench: $(READY) .venv/bench/ready ## benchmark for 15 minutes; QUICK=1: six; BASE=file: compare with an earlier run
	@PYTHONPATH=tests $(PYTHON) -W ignore -m performance $(ONLY)

upgrades: $(READY) ## run the tests on the newest release of every dependency; PRE=1: also pre-releases
	@.ci/upgrades

instructions: $(READY) ## count the CPU instructions of a request; BASE=commit: compare with it; needs valgrind
	@PYTHONPATH=tests:. $(PYTHON) -W ignore -m performance.instructions

lock: $(READY) ## update requirements.txt from pyproject.toml
	@$(PYTHON) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --group dev \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.txt pyproject.toml
	@$(PYTHON) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --group bench \
	  --constraint requirements.txt --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  -o tests/performance/requirements.txt

# These packages are in a separate directory, so that mypy and the tests give the same results without them.
.venv/bench/ready: tests/performance/requirements.txt $(READY)
	@$(PYTHON) -m uv pip install --quiet --target .venv/bench -r tests/performance/requirements.txt
	@touch $@

$(READY): requirements.txt
	@.ci/venv

.PHONY: help run token psql migrate rollback migrations audit prove policies report test majors lint check e2e \
  e2e-next bench chaos cluster lock schema instructions upgrades
