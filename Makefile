# Every target; `make` alone prints them. Recipes are short: what is long lives in a script.
.DEFAULT_GOAL := help
VENV := .venv/bin
DOCS ?= docs
QUESTION ?=
DATA_DIR ?= .headrace
EXTRA ?= cpu
# What the platform stands on: embedded, or native (real servers, started for the length of the command).
PROFILE ?= embedded
SERVERS ?= kafka,postgres,weaviate,s3
ON_SERVERS = $(VENV)/python -m headrace_native run --with $(SERVERS)

.PHONY: help setup fmt lint typecheck arch proto proto-check asyncapi release-contracts unit contract integration e2e
.PHONY: bench-bus bench-ledger bench-embed bench-generate soak quality chaos chaos-ledger check native test demo
.PHONY: up up-native down logs clean

help: ## print the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/.ready ## make .venv with everything in it, from PyPI alone
.venv/.ready: pyproject.toml uv.lock
	@test -x $(VENV)/uv || (python3 -m venv .venv && $(VENV)/python -m pip install -q "uv>=0.9,<1")
	$(VENV)/uv sync -q --locked --inexact --extra $(EXTRA)
	@touch $@

fmt: setup ## format the code and the protos
	$(VENV)/ruff check -q --fix . ; $(VENV)/ruff format .
	cd proto && ../$(VENV)/buf format -w

lint: setup ## ruff, buf
	$(VENV)/ruff check . && $(VENV)/ruff format --check .
	cd proto && ../$(VENV)/buf lint && ../$(VENV)/buf format -d --exit-code

typecheck: setup ## mypy, strict
	$(VENV)/mypy

arch: setup ## who may import whom
	$(VENV)/lint-imports

proto: setup ## generate the stubs of libs/contracts
	$(VENV)/python proto/generate.py

proto-check: setup ## fail where stubs or docs/asyncapi.yaml drifted, or the last release's readers would break
	$(VENV)/python proto/generate.py --check
	cd proto && ../$(VENV)/python -m asyncapi --check
	$(VENV)/python proto/release.py --check

unit: setup ## fast tests without I/O
	$(VENV)/pytest tests/architecture tests/unit

contract: setup ## every port's suite on its adapters
	$(VENV)/pytest tests/contract

integration: setup ## one service on a real bus
	$(VENV)/pytest tests/integration

e2e: setup ## the whole platform from outside
	$(VENV)/pytest tests/e2e

bench-bus: setup ## messaging and the whole chain beside bare aiokafka and FastStream -> build/bench/bus.json (QUICK=1: a smoke run)
	$(VENV)/uv sync -q --locked --inexact --extra $(EXTRA) --group bench
	$(VENV)/python -m tests.bench.bus $(if $(QUICK),--quick)

bench-ledger: setup ## usages a second into the ledger and onto the cost topic -> build/bench/ledger.json (QUICK=1: a smoke run; FULL=1: to a million)
	$(VENV)/python -m tests.bench.ledger $(if $(QUICK),--quick) $(if $(FULL),--full)

bench-embed: setup ## texts to vectors beside fastembed, sentence-transformers and plain ONNX Runtime -> build/bench/embed.json (QUICK=1: a smoke run; ONLY=pattern)
	$(VENV)/python -m tests.bench.embed $(if $(QUICK),--quick) $(if $(ONLY),--only "$(ONLY)")

bench-generate: setup ## our slot engine beside openvino-genai, onnxruntime-genai, llama.cpp and vLLM -> build/bench/generate.json (QUICK=1: a smoke run; ONLY=pattern)
	$(VENV)/python -m tests.bench.generate $(if $(QUICK),--quick) $(if $(ONLY),--only "$(ONLY)")

soak: setup ## generate at twice its capacity for ten minutes: memory, refusals, latencies, stalls -> build/soak/report.json (QUICK=1)
	$(VENV)/python -m tests.soak $(if $(QUICK),--quick)

quality: setup ## answers on real questions -> build/quality/report.json (needs HEADRACE_EVAL_DATA)
	$(VENV)/python -m tests.quality

asyncapi: setup ## describe topics and messages -> docs/asyncapi.yaml
	cd proto && ../$(VENV)/python -m asyncapi

release-contracts: setup ## keep messages and topics as released in libs/contracts' version
	$(VENV)/python proto/release.py

chaos: setup ## faults on real servers, counted -> build/chaos/report.json (QUICK=1: small loads; ROW=1,14)
	$(VENV)/python -m tests.chaos $(if $(QUICK),--quick) $(if $(ROW),--row $(ROW)) $(if $(SEED),--seed $(SEED))

chaos-ledger: setup ## usages told twice and late, meter killed again and again, and the sum -> build/chaos/ledger.json (EVENTS=5000, SEED=7)
	$(VENV)/python -m tests.chaos.ledger $(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED))

check: lint typecheck arch proto-check ## everything that needs no test run

native: setup ## make the real servers ready to start (once; cached)
	$(VENV)/python -m headrace_native build

test: setup ## all tests
	$(VENV)/pytest

demo: setup ## ingest DOCS, ask three questions (or QUESTION), prove the answers -> build/demo/report.json; PROFILE=native: on real servers
	@$(if $(filter native,$(PROFILE)),$(ON_SERVERS) --) $(VENV)/python -m headrace_cli.demo --docs "$(DOCS)" --question "$(QUESTION)"

up: setup ## start the platform on DATA_DIR; Ctrl-C stops it
	@$(VENV)/headrace up --data-dir $(DATA_DIR)

up-native: setup ## the same on real servers (SERVERS); their data is kept under DATA_DIR too
	@$(ON_SERVERS) --data $(DATA_DIR)/native -- $(VENV)/headrace up --data-dir $(DATA_DIR)

down: ## stop the platform of DATA_DIR
	@$(VENV)/headrace down --data-dir $(DATA_DIR)

logs: ## follow the services' logs
	@$(VENV)/headrace logs --follow --data-dir $(DATA_DIR)

clean: ## remove what was built
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
