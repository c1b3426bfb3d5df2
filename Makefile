# Every target prepares what it needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The pinned Node 24 of node_modules goes before whatever the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.package-lock.json

.PHONY: help demo demo-clean test unit integration faults kueue e2e upgrade storm bench elsi-contract verify generate format build cluster-up cluster-down cluster-status

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(INSTALLED): package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)"; exit 1; }
	@# Not `npm ci`: it refuses a lockfile without the binaries of other platforms, which some mirrors lack.
	npm install --no-save --loglevel=error
	@touch $@

demo: $(INSTALLED) ## From nothing to finished analyses of real speech on a real cluster
	@node hack/demo/main.ts $(ARGS)

demo-clean: $(INSTALLED) ## Remove everything that the demo made
	@node hack/demo/main.ts clean $(ARGS)

test: $(INSTALLED) ## Every test: unit, integration on a real API server, faults, Kueue, e2e in real pods, upgrade
	@node hack/test/main.ts $(ARGS)

unit integration kueue e2e upgrade: $(INSTALLED) ## One kind of test
	@node hack/test/main.ts --only $@ $(ARGS)

faults: $(INSTALLED) ## Every fault row, every crash plan and the mutants (up to 75 min; SHARD=1/2 for a half)
	@node hack/faults/main.ts $(ARGS)

storm: $(INSTALLED) ## An hour in which everything dies, one at a time, on the native cluster (ARGS="--seed 2 --minutes 10 --tasks 50")
	@node hack/storm/main.ts $(ARGS)

bench: $(INSTALLED) ## What must be fast, beside a baseline of the same run (ARGS="plan")
	@node hack/bench/main.ts $(ARGS)

elsi-contract: $(INSTALLED) ## The contract of ELSI, against the one that CONFIG=file names (see docs/guides/elsi.md)
	@test -n "$(CONFIG)" || { echo "CONFIG is missing: make elsi-contract CONFIG=file (see docs/guides/elsi.md)"; exit 1; }
	@ELSI_CONTRACT_CONFIG="$(abspath $(CONFIG))" mocha --no-config --timeout 60000 'test/contract/*.test.ts'

verify: $(INSTALLED) ## The gate: generated files, format, lint, types, unused code, clean tree
	@bash hack/verify.sh

generate: $(INSTALLED) ## Write CRDs, reference docs and chart files anew
	node hack/gen-crds.ts
	node hack/gen-docs.ts
	node hack/gen-values-schema.ts

format: $(INSTALLED) ## Format all sources
	biome format --write

build: $(INSTALLED) ## Bundle the program into dist/
	node hack/build.ts

cluster-up: $(INSTALLED) ## A real single-node Kubernetes on this machine (ARGS="--driver kind|native|current")
	@node hack/cluster/main.ts up $(ARGS)

cluster-down: $(INSTALLED) ## Stop it and remove everything but the build cache
	@node hack/cluster/main.ts down $(ARGS)

cluster-status: $(INSTALLED) ## What runs and what does not
	@node hack/cluster/main.ts status $(ARGS)
