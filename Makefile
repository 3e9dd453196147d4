# `make` alone explains itself. Everything works without an account, and asks nothing.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
PYTHON_IN_VENV := .venv/bin/python
# Set in many containers; each of the hundreds of processes of a test run would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-full check bench bench-hosts lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make .venv as the lock file says and get the Pulumi engine (again: under a second)
	@tools/setup.sh

demo: setup ## Start the sandbox, create two tenants and show them
	@tools/demo.sh

test: setup ## Run every tier of tests, each within its time budget
	@$(PYTHON_IN_VENV) tools/run_tests.py

test-full: setup ## The same with the long tests, without time budgets
	@$(PYTHON_IN_VENV) tools/run_tests.py --full

check: setup ## Format, lint (playbooks too), types and unit tests: before every commit
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@$(PYTHON_IN_VENV) tools/check_types.py
	@PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/ansible-lint --offline -q playbooks
	@$(PYTHON_IN_VENV) tools/run_tests.py --tier unit

bench: setup ## Measure against plain boto3 and Ansible (benchmarks/)
	@$(PYTHON_IN_VENV) benchmarks/run.py

bench-hosts: setup ## Measure the hardening of hosts (as root)
	@$(PYTHON_IN_VENV) benchmarks/hosts.py

lock: ## Resolve requirements.lock anew (UPGRADE=1 takes newer versions)
	@tools/lock.sh

clean: ## End the sandbox, remove .venv and caches here; .mutx and the shared cache stay
	@tools/clean.sh
