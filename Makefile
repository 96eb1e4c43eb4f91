# Everything from nothing: the environment, the cluster and the servers are built and cached when first needed.
PYTHON ?= python3
RUN = $(PYTHON) dev/venv.py
EXAMPLES ?= 20000
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))

.PHONY: help
help: ## these lines
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-clean
demo: ## copy 1 GiB in a real cluster, prove it, break it; RECORD=FILE keeps the output
	@$(RUN) python -m dev.demo $(if $(RECORD),--record '$(RECORD)')
demo-clean: ## remove what the demo has made, the embedded cluster included
	@$(RUN) python -m dev.demo --clean

.PHONY: test test-unit test-tools test-model test-s3 test-apiserver test-cluster test-faults soak lint
test: ## all tiers of tests; ends with "N passed, N failed"
	@$(RUN) python -m dev.test
test-unit: ## decisions, arithmetic, contracts: seconds, no server
	@$(RUN) python -m dev.test unit
test-tools: ## our manifests, in the hands of kstatus, kustomize and promtool
	@$(RUN) python -m dev.test tools
test-model: ## the model of S3 and the cluster at length; EXAMPLES=20000 of each kind, SEED=N replays
	@echo "SEED=$(SEED)"
	@MODEL_EXAMPLES=$(EXAMPLES) $(RUN) pytest -q tests/model --hypothesis-seed=$(SEED)
test-s3: ## worker and control calls against versitygw and MinIO
	@$(RUN) python -m dev.test s3
test-apiserver: ## what a real API server accepts and refuses
	@$(RUN) python -m dev.test apiserver
test-cluster: ## copies, waits, failures and deaths in a real cluster
	@$(RUN) python -m dev.test cluster
test-faults: ## the long ones: outages of minutes
	@$(RUN) python -m dev.test long
soak: ## random copies under random faults; MINUTES=10 SEED=N replays a run, KEEP=1 goes on after a violation
	@MINUTES='$(MINUTES)' SEED='$(SEED)' KEEP='$(KEEP)' $(RUN) python -m tests.cluster.soak
lint: ## style, types, layers
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

.PHONY: bench dashboard
bench: ## all benches, into docs/bench.*; ARGS="[relay] [within] [latency] [pods] [ledger] [--quick]" for some, not kept
	@$(RUN) python -m dev.bench $(or $(ARGS),--docs)
dashboard: ## the dashboard's panels, of what the operator in the cluster does for SECONDS=300, into docs/dashboard.svg
	@$(RUN) python -m dev.dashboard --seconds $(or $(SECONDS),300) docs/dashboard.svg

.PHONY: cluster-up cluster-down cluster-status image lock
cluster-up: ## start the embedded cluster (root, Linux)
	@$(RUN) python -m dev.cluster up
cluster-down: ## stop and remove it; the cache stays
	@$(RUN) python -m dev.cluster down
cluster-status: ## what of it runs
	@$(RUN) python -m dev.cluster status
image: ## build the project's image; TAG=NAME names it
	@$(RUN) python -m dev.cluster build-image $(if $(TAG),--tag '$(TAG)')
lock: ## write requirements/ anew (needs uv)
	dev/lock.sh
