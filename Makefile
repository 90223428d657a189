# Two commands matter: `make run` and `make test`. Everything that they need and do not find they install.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help
help: ## what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: run
run: python ## VISA with its demo facility on this host, until Ctrl-C (VISA_PORT, VISA_HOME, VISA_BIND)
	@exec python3 -m deploy.run

.PHONY: test
test: python ## the whole suite, on its own libvirt, databases and browser (ARGS="-k word" for a part)
	@python3 -m deploy.install test
	@python3 -m deploy.test $(ARGS)

.PHONY: test-full
test-full: python ## JupyterLab in a real machine of the full image; builds it if it is missing (ARGS="-k word")
	@python3 -m deploy.install test
	@python3 -m deploy.test full $(ARGS)

.PHONY: check
check: python ## style, types, import contracts, production settings, migrations
	@python3 -m deploy.install
	@python3 -m deploy.check

.PHONY: doctor
doctor: python ## what this host lacks for VISA, and how to mend it
	@python3 -m deploy.doctor

.PHONY: bench
bench: python ## the measurements, as one table
	@python3 -m deploy.install test
	@$(BIN)/python -m bench

.PHONY: format
format: ## every file in the one style
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: lock
lock: ## the pinned lists of packages anew, from *.in and package.json
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 requirements-dev.in -o requirements-dev.txt
	@npm install --package-lock-only --ignore-scripts --no-audit --no-fund

.PHONY: python
python:
	@command -v python3 >/dev/null || if [ "$$(id -u)" = 0 ]; then \
		apt-get update && apt-get install -y --no-install-recommends python3; else \
		sudo apt-get update && sudo apt-get install -y --no-install-recommends python3; fi
