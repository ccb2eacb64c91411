# Vitrine: everything that a person types. `make help` lists it.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
# The stamp is newer than what it was made from exactly while the environment is up to date.
STAMP := $(VENV)/.vitrine-env

.DEFAULT_GOAL := help
.PHONY: help env run serve test faults up down production-rehearsal lint lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## Make .venv with the locked packages (done by itself where needed)

run: $(STAMP) ## One retrain through Airflow: make run [DATA=folder] [AS_OF=time] [EPOCHS=n] [SET=settings] [SPEC=file] [DRY_RUN=1]
	@$(BIN)/python -m stack.run $(if $(DATA),--data "$(DATA)") $(if $(AS_OF),--as-of "$(AS_OF)") \
		$(if $(EPOCHS),--epochs "$(EPOCHS)") $(if $(SET),--set $(SET)) $(if $(SPEC),--spec "$(SPEC)") \
		$(if $(DRY_RUN),--dry-run)

serve: $(STAMP) ## Answer over HTTP from the live release: make serve [SHOP=name] [PORT=n]
	@$(BIN)/vitrine serve $(if $(SHOP),--shop "$(SHOP)") $(if $(PORT),--port "$(PORT)")

# A file's tests stay in one process. ARGS="-n0" runs all in one, as --pdb needs.
WORKERS := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(STAMP) ## Run all tests: make test [ARGS="-k gate"]
	@$(BIN)/python -m tests.browser
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

faults: $(STAMP) ## Run the full fault sweeps: make faults [ARGS="-k stale"]
	@$(BIN)/python -m pytest tests/faults --full-faults $(ARGS)

up: $(STAMP) ## Start Airflow and MLflow and leave them up: make up [AIRFLOW_PORT=n] [MLFLOW_PORT=n]
	@$(if $(AIRFLOW_PORT),AIRFLOW_PORT=$(AIRFLOW_PORT)) $(if $(MLFLOW_PORT),MLFLOW_PORT=$(MLFLOW_PORT)) \
		$(BIN)/python -m stack.up

down: $(STAMP) ## End the stack; nothing stays running
	@$(BIN)/python -m stack.down

production-rehearsal: $(STAMP) ## docker-compose.yml without containers, the whole flow: make production-rehearsal [SET=settings]
	@$(BIN)/python -W ignore -m stack.rehearsal $(if $(SET),--set $(SET))

lint: $(STAMP) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lock: $(STAMP) ## Resolve requirements.in and requirements-serving.in into the locks
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url --no-header requirements.in -o requirements.txt
	@{ echo '# Made by `make lock` from requirements.in. The compatibility knots of this set:'; \
		sed -n 's/^#!/#/p' requirements.in; echo; grep -v '^#' requirements.txt | sed '/^$$/d'; } > requirements.tmp
	@mv requirements.tmp requirements.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url --no-header -c requirements.txt \
		requirements-serving.in -o requirements-serving.txt
	@{ echo '# Made by `make lock` from requirements-serving.in, in the versions of requirements.txt.'; echo; \
		grep -v '^#' requirements-serving.txt | sed '/^$$/d'; } > requirements.tmp
	@mv requirements.tmp requirements-serving.txt

clean: ## Remove .venv and caches; what retrains made (.vitrine) stays
	@if [ -x $(BIN)/python ] && [ -e .vitrine/stack.json ]; then $(BIN)/python -m stack.down; fi
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "There is no $(PYTHON): install Python 3.11, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), the locked packages need Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { \
		echo "$(PYTHON) has no venv module: install it (Debian and Ubuntu: apt install python3.11-venv)"; exit 1; }
	@$(BIN)/python -c '' 2> /dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked packages into $(VENV) (about 3 GB, minutes the first time) ..."
	@$(BIN)/uv --version 2> /dev/null | grep -q "^uv $(UV_VERSION)" || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet requirements.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
