# Everything one does here, on a machine with Python 3.11 or later and GNU make. Start with: make
PYTHON ?= python3
VENV := .venv
ARGS ?=
OUT ?=
SCENARIOS ?=

.DEFAULT_GOAL := help
.PHONY: help venv run demo test test-fast lint types contracts check bench eval chaos fuzz lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A stamp is newer than what was installed from, so that the second run starts at once.
INPUTS := pyproject.toml requirements.lock .ci/bootstrap.sh
$(VENV)/.installed: $(INPUTS)
	@PYTHON='$(PYTHON)' .ci/bootstrap.sh $(VENV) requirements.lock
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) requirements-dev.lock
	@PYTHON='$(PYTHON)' .ci/bootstrap.sh $(VENV) requirements-dev.lock
	@touch $(VENV)/.installed $@

venv: $(VENV)/.installed-dev ## make .venv with everything that tests and checks need

run: $(VENV)/.installed ## start the router; settings: docs/reference/settings.md
	@exec $(VENV)/bin/router serve $(ARGS)

demo: $(VENV)/.installed ## play the tutorial's story against a running router
	@exec $(VENV)/bin/router demo $(ARGS)

test: $(VENV)/.installed-dev ## run all tests; one of them: make test ARGS=tests/unit/test_settings.py
	@.ci/services.sh
	@$(VENV)/bin/pytest $(ARGS)

test-fast: $(VENV)/.installed-dev ## run the tests that need no server
	@$(VENV)/bin/pytest tests/unit $(ARGS)

lint: $(VENV)/.installed-dev ## check style and format
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(VENV)/.installed-dev ## check types
	@$(VENV)/bin/mypy

contracts: $(VENV)/.installed-dev ## check which room imports which
	@$(VENV)/bin/lint-imports

check: lint types contracts ## the three above

bench: $(VENV)/.installed-dev ## measure; keep the numbers: make bench OUT=folder
	@.ci/services.sh
	@$(VENV)/bin/python -m tests.bench $(if $(OUT),--out '$(OUT)') $(ARGS)

eval: $(VENV)/.installed-dev ## judge which deploys are blamed; on your own: make eval SCENARIOS=folder OUT=folder
	@$(VENV)/bin/python -m tests.eval $(if $(OUT),--out '$(OUT)') $(if $(SCENARIOS),--scenarios '$(SCENARIOS)') $(ARGS)

chaos: $(VENV)/.installed-dev ## kill processes for a long while, and count what was lost or doubled
	@.ci/services.sh
	@$(VENV)/bin/pytest tests/chaos -m chaos --chaos-long $(ARGS)

.venv-fuzz/.installed: $(INPUTS) requirements-fuzz.lock
	@PYTHON='$(PYTHON)' .ci/bootstrap.sh .venv-fuzz requirements-fuzz.lock
	@touch $@

fuzz: .venv-fuzz/.installed ## fuzz every source, 2 minutes; for longer: make fuzz ARGS='--seconds 3600'
	@.venv-fuzz/bin/python -m tests.fuzz $(ARGS)

lock: ## solve the lock files anew; UPGRADE=1 takes newer releases
	@PYTHON='$(PYTHON)' .ci/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## remove what was made here, but not data/
	@rm -rf $(VENV) .venv-fuzz build dist *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
