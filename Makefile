# The one task runner. `make` prints this help from the ## comments.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STACK ?= dev
# What is built once for all clones: toolchain, lab downloads, Docker's data where we start it.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/plantao
export PATH := $(CACHE)/bin:$(PATH)
# One set of flags everywhere, so that program, tests and linters share Go's build cache.
export GOFLAGS := -buildvcs=false -trimpath
export PULUMI_SKIP_UPDATE_CHECK := 1
# A passphrase of the user's own wins; otherwise the file that `make up` makes once.
PASSPHRASE_FILE := $(or $(XDG_CONFIG_HOME),$(HOME)/.config)/plantao/passphrase
ifeq ($(PULUMI_CONFIG_PASSPHRASE)$(PULUMI_CONFIG_PASSPHRASE_FILE),)
export PULUMI_CONFIG_PASSPHRASE_FILE := $(PASSPHRASE_FILE)
endif
# auto, registry or lab: where `make images` takes images from.
SOURCE ?= auto
BINARIES := plantao pulumi-resource-plantao
SETUP := bin/plantao-setup
PULUMI := pulumi --non-interactive --stack $(STACK)

##@ Run
.PHONY: up
up: ready ## Bring the stack up (STACK=dev); again: nothing changes, in seconds
	@pulumi --non-interactive stack select --create $(STACK) >/dev/null
	@$(PULUMI) up --yes --skip-preview
	@bin/plantao status --stack $(STACK)

.PHONY: preview
preview: ready ## Show what `make up` would change, and touch nothing
	@pulumi --non-interactive stack select --create $(STACK) >/dev/null
	@$(PULUMI) preview --diff

# What every operation needs. Preflight comes before the images: a taken port should not cost their build.
.PHONY: ready
ready: setup build
	@bin/plantao passphrase init
	@bin/plantao preflight --stack $(STACK)
	@$(MAKE) images

.PHONY: down
down: setup build ## Take the stack down: its containers, networks and volumes
	@$(PULUMI) destroy --yes --skip-preview

.PHONY: mend
mend: setup build ## After a killed `make up`: release its lock, make containers and networks anew; volumes stay
	@$(PULUMI) cancel --yes
	@# What was being made when the run died is on the engine but not in the state, and its name is taken.
	@docker ps -aq --filter label=plantao.stack=$(STACK) | xargs -r docker rm -f >/dev/null
	@docker network ls -q --filter label=plantao.stack=$(STACK) | xargs -r docker network rm >/dev/null
	@$(PULUMI) refresh --yes --skip-preview --clear-pending-creates
	@$(MAKE) up

.PHONY: setup
setup: $(SETUP) ## Install what is missing: Pulumi, its plugins, Docker (cached: under 2 s)
	@$(SETUP) --for up

.PHONY: build
build: ## Compile the operator's CLI and the provider into bin/
	@mkdir -p bin
	@for b in $(BINARIES); do go build -ldflags "-s -w" -o bin/$$b ./cmd/$$b; done

.PHONY: images
images: $(SETUP) ## Have every image: from a registry when one answers, else built here (SOURCE=auto|registry|lab)
	@$(SETUP) --for lab
	@go build -o bin/lab ./test/lab
	@bin/lab ensure --source $(SOURCE)

.PHONY: env
env: $(SETUP) ## Print the settings for using pulumi itself: eval "$$(make env)"
	@$(SETUP) --print-env
	@printf 'export PATH=%q:"$$PATH"\n' "$(CURDIR)/bin"
	@if [ -n "$${PULUMI_CONFIG_PASSPHRASE_FILE-}" ]; then printf 'export PULUMI_CONFIG_PASSPHRASE_FILE=%q\n' "$$PULUMI_CONFIG_PASSPHRASE_FILE"; fi

##@ Prove
.PHONY: test
test: $(SETUP) ## Unit tests, and integration against a PostgreSQL and a Redis the tests start
	@$(SETUP) --for test
	@go test ./...
	@go -C tools test ./...

.PHONY: race
race: $(SETUP) ## The service, the CLI and the lab under the race detector
	@$(SETUP) --for test
	@# Not infra: Pulumi's SDK under the detector compiles for minutes, and the program has no goroutines.
	@go test -race ./runtime/... ./cmd/... ./test/...

.PHONY: e2e
e2e: setup build images ## The whole system on the real engine: up, messages, kills, no-op, destroy (SMOKE=1: short)
	@go test -tags e2e -count=1 -timeout 40m ./infra/provider ./test/lab/builder ./test/lab/contract ./cmd/plantao/engine
	@go -C tools test -tags e2e -count=1 -timeout 40m ./setup ./pulumi-language-go
	@go test -tags e2e -count=1 -timeout 40m -v ./test/e2e/flows
	@go test -tags e2e -count=1 -timeout 40m -v ./test/e2e

.PHONY: fault
fault: $(SETUP) ## Routers under kill -9, pauses, lost Redis, restarted PostgreSQL, cuts (ROUNDS=200; SMOKE=1: 12); the full model
	@$(SETUP) --for test
	@go test -tags e2e -count=1 -timeout 10h -v ./test/fault
	@MODEL=$(if $(SMOKE),,full) go test -count=1 -timeout 60m -v ./test/model

.PHONY: fuzz
fuzz: $(SETUP) ## Every fuzz target there is, FUZZTIME=60s each (SMOKE=1: 10s)
	@$(SETUP) --for test
	@grep -rl --include='*_test.go' '^func Fuzz' runtime cmd | xargs -n1 dirname | sort -u | while read -r dir; do \
		grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | cut -c6- | while read -r name; do \
			echo "$$dir $$name"; \
			CI=true go test "./$$dir" -run '^$$' -fuzz "^$$name$$" -fuzztime $(or $(FUZZTIME),$(if $(SMOKE),10s,60s)) </dev/null; \
		done; \
	done

.PHONY: bench-ingest
bench-ingest: setup build images ## Webhooks stored a second beside bare inserts, n8n, ten million rows, slow clients; time to the flow
	@$(SETUP) --for test
	@go test -tags e2e -count=1 -timeout 60m -v -run TestIngest ./test/bench

.PHONY: bench-lock
bench-lock: $(SETUP) ## The lock beside other lock clients; verbs and gate beside their bare statements, young and old history
	@$(SETUP) --for test
	@go test -tags e2e -count=1 -timeout 40m -v -run 'TestLock|TestVerb' ./test/bench

.PHONY: bench-rules
bench-rules: $(SETUP) ## A decision over 200 rules beside bare CEL, and the reading of 1,000
	@$(SETUP) --for test
	@go test -tags e2e -count=1 -timeout 20m -v -run TestRules ./test/bench

.PHONY: bench-infra
bench-infra: setup build images ## Times of a no-op up and preview, size and memory of the router
	@go test -tags e2e -count=1 -timeout 40m -v -run TestInfra ./test/bench

##@ Keep clean
.PHONY: lint
lint: $(SETUP) ## Linters, among them the import arrows of the architecture
	@$(SETUP) --for lint
	@golangci-lint run --allow-parallel-runners ./...
	@cd tools && golangci-lint run --allow-parallel-runners --config ../.golangci.yml ./...
	@$(SETUP) --govulncheck

.PHONY: fmt
fmt: $(SETUP) ## Format
	@$(SETUP) --for lint
	@golangci-lint fmt ./...

.PHONY: generate
generate: setup build ## Write infra/sdk anew from the provider's schema, and the API's description from its types
	@go test -count=1 -run TestOpenAPIFileIsCurrent ./runtime/server -update >/dev/null
	@go test -count=1 -run TestSchemaFileIsCurrent ./runtime/routing/rules -update >/dev/null
	@pulumi package get-schema ./bin/pulumi-resource-plantao | go run -C tools ./gensdk -out ../infra/sdk

.PHONY: verify
verify: generate ## Generated files and go.mod are current
	@git diff --exit-code -- infra/sdk runtime/api/openapi.json runtime/routing/rules/schema.json || { echo "generated files are not current: commit what 'make generate' wrote" >&2; exit 1; }
	@go mod tidy -diff
	@go -C tools mod tidy -diff

.PHONY: check
check: lint verify race ## lint, verify and race: before every push

.PHONY: help
help: ## This help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The setup program itself: built when its sources changed, so that a set-up machine waits for nothing.
$(SETUP): $(wildcard tools/setup/*.go tools/setup/*.yaml tools/go.mod tools/go.sum)
	@mkdir -p $(dir $@)
	@go -C tools build -o $(CURDIR)/$@ ./setup
