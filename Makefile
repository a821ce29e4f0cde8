# Bare make lists the targets. Everything they need is installed into .venv on first use.
.DEFAULT_GOAL := help
SHELL := /bin/sh
# Where it is set, as in many containers, each process of pytest would compile all tests anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON := .venv/bin/python
READY := .venv/ready
# By env, not by a shell, which would keep a signal to make from reaching the command.
TASKS := env PYTHONPATH=tests:. $(PYTHON) -m embedded

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## serve on 127.0.0.1:8000, on an embedded PostgreSQL where no DATABASE_URL is set
	@$(TASKS) run

token: $(READY) ## print a token: make token AS=alice
	@$(TASKS) token

psql: $(READY) ## psql as one user: make psql AS=alice
	@$(TASKS) psql

migrate: $(READY) ## apply the migrations that are not applied yet, on MIGRATION_DATABASE_URL
	@$(TASKS) migrate

schema: $(READY) ## write sql/schema.sql again from the migrations
	@WRITE_SCHEMA=1 $(PYTHON) -m pytest -q -n0 tests/database/test_schema.py

rollback: $(READY) ## undo the newest applied migration
	@$(TASKS) rollback

migrations: $(READY) ## list the migrations, applied or pending
	@$(TASKS) migrations

audit: $(READY) ## look for holes between users; fails on one, so that a deploy can gate on it
	@$(TASKS) audit

prove: $(READY) ## try everything that must be refused between users; fails where anything is not
	@$(TASKS) prove

policies: $(READY) ## show who may do what, by which policy and in which columns
	@$(TASKS) policies

report: $(READY) ## write report.html: access, findings, accepted ones and what prove saw, for an auditor
	@$(TASKS) report

test: $(READY) ## run the tests on real PostgreSQL
	@$(PYTHON) -m pytest

cluster: $(READY) ## the API on Citus, of the PostgreSQL that PG_CONFIG names: HTTP tests, holes, moves, outages
	@CLUSTER=1 $(PYTHON) -m pytest -n0 -s tests/cluster tests/http

majors: $(READY) ## all of the database's tests, and the API's statements, on PostgreSQL 15, 16 and 17; needs Node
	@tests/majors/prepare
	@MAJORS="15 16 17" $(PYTHON) -m pytest tests/database tests/http/test_listing.py tests/http/test_tasks.py \
	  tests/http/test_retries.py

chaos: $(READY) ## break everything for ten minutes and show what was seen; QUICK=1 takes three
	@PYTHONPATH=tests:. QUICK=$(QUICK) $(PYTHON) -W ignore tests/chaos/run.py $(ONLY)

check: $(READY) ## formatting, lint, types, then the tests
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest

e2e: $(READY) ## the API with the real Better Auth and a real browser; needs Node
	@tests/e2e/prepare
	@$(PYTHON) -m pytest tests/e2e/better_auth.py tests/e2e/clients.py tests/e2e/install.py

e2e-next: $(READY) ## a fresh Next.js app on the API, as tests/e2e/README.md says; five minutes
	@tests/e2e/prepare
	@$(PYTHON) -m pytest tests/e2e/next_app.py

bench: $(READY) .venv/bench/ready ## measure, beside others, in ten minutes; QUICK=1: in two; BASE=file: against an earlier run
	@PYTHONPATH=tests $(PYTHON) -W ignore -m performance

upgrades: $(READY) ## the tests on the newest release of every dependency; PRE=1: pre-releases too
	@.ci/upgrades

instructions: $(READY) ## count a request's instructions, on busy machines too; BASE=commit: beside it; needs valgrind
	@PYTHONPATH=tests:. $(PYTHON) -W ignore -m performance.instructions

lock: $(READY) ## renew requirements.txt from pyproject.toml
	@$(PYTHON) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --group dev \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.txt pyproject.toml
	@$(PYTHON) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --group bench \
	  --constraint requirements.txt --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  -o tests/performance/requirements.txt

# Apart from the rest, which checks the same types and runs the same tests with or without it.
.venv/bench/ready: tests/performance/requirements.txt $(READY)
	@$(PYTHON) -m uv pip install --quiet --target .venv/bench -r tests/performance/requirements.txt
	@touch $@

$(READY): requirements.txt
	@.ci/venv

.PHONY: help run token psql migrate rollback migrations audit prove policies report test majors check e2e \
  e2e-next bench chaos cluster lock schema instructions upgrades
