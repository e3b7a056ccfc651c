.PHONY: help setup test test-slow test-all check coverage audit mutation soak format study results bench docs

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## Make .venv with Vicinal and what its tests need
	python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'

test:  ## Run the tests that take seconds
	.venv/bin/pytest -m 'not slow and not ci'

test-slow:  ## Run the tests of every feature
	.venv/bin/pytest

test-all:  ## Run what CI runs
	.venv/bin/pytest -m ''

check:  ## Lint, format check and types
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy --strict src

coverage:  ## Run all tests and show which lines and branches none of them takes
	.venv/bin/pytest -m '' --cov

audit:  ## Look for known holes: in our code (bandit), in what it depends on (pip-audit, by network)
	.venv/bin/pip install -q -e '.[audit]' && .venv/bin/bandit -q -c pyproject.toml -r src && .venv/bin/pip-audit

mutation:  ## Break the code in thousands of small ways and see whether a test notices (an hour or so)
	.venv/bin/pip install -q -e '.[audit]' && .venv/bin/mutmut run 'vicinal.evaluations.score*' && .venv/bin/python benchmarks/mutants.py

soak:  ## Train for half an hour and see whether memory stays flat
	.venv/bin/python benchmarks/soak.py

format:  ## Format the code
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

study:  ## Run the study on the embedded digits
	.venv/bin/vicinal study

results:  ## Write docs/results.md from run folders: make results RUNS='runs/a runs/b'
	.venv/bin/python benchmarks/results.py $(RUNS)

bench:  ## Measure us and the peers, and write docs/benchmarks.md (about an hour)
	.venv/bin/pip install -q -e '.[dev,bench]' && .venv/bin/python benchmarks/write.py

docs:  ## Build the documentation as a site, into site/; a broken link ends it
	.venv/bin/pip install -q -e '.[docs]' && .venv/bin/mkdocs build --strict
