# Two commands do everything on a fresh Debian 12: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_DIR ?= $(CURDIR)/data/demo

.PHONY: help demo test test-bluez lint types unit conformance bench lock format clean system-demo system-test kill

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

system-demo:
	@scripts/system-packages mosquitto python

system-test:
	@scripts/system-packages mosquitto mosquitto-clients python chromium dbus

$(VENV)/.demo: requirements/demo.txt pyproject.toml | system-demo
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml $(VENV)/.demo | system-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.demo  ## run the main job with virtual devices; pages at http://localhost:8080
	@$(BIN)/gateway demo --data "$(DEMO_DIR)"

test: lint types unit  ## everything: ruff, mypy --strict, pytest

lint: $(VENV)/.dev
	$(BIN)/ruff format --check gateway tests benchmarks
	$(BIN)/ruff check gateway tests benchmarks
	$(BIN)/hadolint Dockerfile

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/pytest -m "not conformance and not bluez"

test-bluez: $(VENV)/.dev  ## the Bluetooth source over a real BlueZ, in a throw-away guest (see docs/bluez-guest.md)
	@scripts/test-bluez

conformance: $(VENV)/.dev  ## checks against the published FHIR profiles; needs their files (see docs/conformance.md)
	scripts/conformance

bench: $(VENV)/.dev  ## measure again; writes benchmarks/results
	$(BIN)/python benchmarks/decode_rate.py
	$(BIN)/python benchmarks/store_layout.py
	$(BIN)/python benchmarks/store_commit.py
	$(BIN)/python benchmarks/mqtt_throughput.py --result benchmarks/results/mqtt_throughput.md
	$(BIN)/python benchmarks/nightscout_intake.py --result benchmarks/results/nightscout_intake.md
	$(BIN)/python benchmarks/whole_gateway.py --result benchmarks/results/whole_gateway.md
	$(BIN)/python benchmarks/bluetooth_fetch.py
	$(BIN)/python benchmarks/bluetooth_day.py
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/one_stream.py

kill: $(VENV)/.dev  ## 100 x kill -9 during intake, and 100 x during Bluetooth: nothing lost, nothing twice
	$(BIN)/python benchmarks/kill_loop.py --kills 100
	$(BIN)/python benchmarks/kill_bluetooth.py --kills 100

format: $(VENV)/.dev  ## put the code into shape
	$(BIN)/ruff format gateway tests benchmarks
	$(BIN)/ruff check --fix gateway tests benchmarks

lock:  ## renew requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --extra demo --group pyproject.toml:build pyproject.toml --output-file requirements/demo.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --extra demo --group pyproject.toml:build --group pyproject.toml:dev pyproject.toml --constraints requirements/demo.txt --output-file requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --constraints requirements/demo.txt pyproject.toml --output-file requirements/runtime.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --constraints requirements/demo.txt --group pyproject.toml:build --output-file requirements/build.txt

clean:  ## remove the environment and the demonstration's data
	rm -rf $(VENV) data build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
