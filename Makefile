# SPDX-License-Identifier: Apache-2.0
VERSION ?= v0.1.0
ARCH    ?= $(shell go env GOARCH)
BIN     := bin/$(ARCH)
PKG     := github.com/velero-restic/velero-plugin-for-restic
# The helper has the tag of this version, because it is released with this project and not with the Velero server.
HELPER_IMAGE ?= velero/velero-restic-restore-helper
LDFLAGS := -s -w -X $(PKG)/internal/version.Version=$(VERSION) \
	-X $(PKG)/internal/version.HelperImage=$(HELPER_IMAGE)
BUILD    = CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/$@ $(1)
GENERATE = bin/controller-gen
CSPELL   = bin/.cspell/node_modules/.bin/cspell
TRACKED  = git ls-files --cached --others --exclude-standard
GENERATED = api examples/base/crds examples/base/rbac/role.yaml examples/component/annotate/role.yaml \
	examples/prometheus/operator docs/api.md docs/reference
# The packages whose markers define the roles of examples/base. The permissions for annotating are in a component.
BASE_RIGHTS = $(filter-out ./agent/annotate,$(sort $(shell find ./agent ./internal/inventory -name '*.go' -exec dirname {} +)))

.DEFAULT_GOAL := help
.PHONY: help build demo-check test test-unit test-storage test-integration test-e2e test-mutation lint generate verify images demo demo-down cluster \
	cluster-down restic clean velero-plugin-for-restic cp-plugin velero-restic-agent velero-restic-restore-helper \
	velero-restic cli-all platforms spelling

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: velero-plugin-for-restic cp-plugin velero-restic-agent velero-restic-restore-helper velero-restic restic ## Build every binary into bin/ARCH

velero-plugin-for-restic:
	@$(call BUILD,./plugins)
cp-plugin:
	@$(call BUILD,./plugins/cp-plugin)
velero-restic-agent:
	@$(call BUILD,./agent)
velero-restic-restore-helper:
	@$(call BUILD,./helper-image)
velero-restic: ## Build the command line, also with the names that kubectl and its completion need
	@$(call BUILD,./cli)
	@ln -sf velero-restic $(BIN)/kubectl-velero_restic
	@ln -sf velero-restic $(BIN)/kubectl_complete-velero_restic
cli-all: ## Build the command line for every system into dist/cli
	@for target in linux darwin windows; do for arch in amd64 arm64; do \
		suffix=$$([ $$target != windows ] || echo .exe); \
		CGO_ENABLED=0 GOOS=$$target GOARCH=$$arch go build -trimpath -ldflags "$(LDFLAGS)" \
			-o dist/cli/velero-restic-$$target-$$arch$$suffix ./cli || exit 1; done; done
restic: ## Build the pinned restic
	@CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go -C agent/restic build -trimpath -ldflags "-s -w" \
		-o ../../$(BIN)/restic github.com/restic/restic/cmd/restic
	@[ $(ARCH) != $$(go env GOHOSTARCH) ] || install $(BIN)/restic bin/restic

platforms: cli-all ## Build what CI does not run: the command line for every system, and the images for arm64
	@$(MAKE) images ARCH=arm64

images: build ## Write the three images into dist/images (ARCH=arm64 for the other architecture)
	go run ./internal/image/build --arch $(ARCH) --version $(VERSION) --bin $(BIN) --out dist/images

demo: demo-check images ## Back up, lose and restore real data on a real one-node cluster
	go run ./test/demo

demo-check:
	@go run ./test/demo check

demo-down: cluster-down ## Remove the demo's cluster

cluster: images ## Start the test cluster with Velero and this project on it
	go run ./test/cluster up
	go run ./test/install/cmd

cluster-down: ## Stop the test cluster and remove everything that belongs to it
	go run ./test/cluster down

test: test-unit test-storage test-integration test-e2e ## Run every test

test-unit: restic ## Run the tests that need no cluster
	go test $$(go list ./... | grep -v -e /test/e2e -e /test/integration -e /test/scale -e /test/storage)

test-storage: restic ## Test every storage type on real servers
	go test -count=1 -timeout 60m -parallel 8 ./test/storage/...

test-integration: build ## Test the plugin binary, and a cluster of 10,000 claims, with a real API server
	go test -count=1 -timeout 30m -p 1 ./test/integration/... ./test/scale/...

test-e2e: images ## Test the jobs of users on the test cluster
	go test -count=1 -timeout 60m -v ./test/e2e/...

test-mutation: restic ## Change single lines of the product, and check that a test fails
	go run ./test/mutation

lint: spelling bin/golangci-lint ## Run the linters and the spell checker
	bin/golangci-lint run ./...

spelling: $(CSPELL) bin/misspell ## Check the spelling of documents, comments and messages
	@LC_ALL=C sort -cu internal/tools/spelling/words.txt
	@$(TRACKED) | $(CSPELL) --no-progress --no-summary --no-must-find-files --file-list stdin
	@$(TRACKED) | grep -vE '(^|/)go\.(mod|sum)$$|\.golangci\.yml$$' | xargs bin/misspell -i lustre -locale US -error

generate: bin/controller-gen bin/crd-ref-docs ## Write the generated files
	$(GENERATE) object paths=./api/... crd output:crd:dir=examples/base/crds
	$(GENERATE) rbac:roleName=velero-restic $(BASE_RIGHTS:%=paths=%) output:rbac:dir=examples/base/rbac
	$(GENERATE) rbac:roleName=velero-restic-annotate paths=./agent/annotate output:rbac:dir=examples/component/annotate
	go run ./test/prometheus/generate
	bin/crd-ref-docs --log-level=ERROR --config=test/reference/api/config.yaml --templates-dir=test/reference/api \
		--source-path=api --renderer=markdown --output-path=docs/api.md
	UPDATE_REFERENCE=1 go test -count=1 -run '^TestReference$$' ./agent ./cli ./test/reference

bin/crd-ref-docs: internal/tools/crd-ref-docs/go.sum
	@go -C internal/tools/crd-ref-docs build -o ../../../$@ github.com/elastic/crd-ref-docs
bin/controller-gen: internal/tools/go.sum
	@go -C internal/tools build -o ../../$@ sigs.k8s.io/controller-tools/cmd/controller-gen
bin/golangci-lint: internal/tools/go.sum
	@CGO_ENABLED=0 go -C internal/tools build -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/misspell: internal/tools/go.sum
	@CGO_ENABLED=0 go -C internal/tools build -o ../../$@ github.com/golangci/misspell/cmd/misspell
# The directory starts with a dot, because one of the modules has a Go package that ./... must not find.
$(CSPELL): internal/tools/spelling/package.json internal/tools/spelling/package-lock.json
	@internal/tools/debian.sh node=nodejs npm=npm
	@install -D -m 0644 -t bin/.cspell $^
	@npm --prefix bin/.cspell ci --ignore-scripts --no-audit --no-fund
	@touch $@

verify: generate ## Fail if a generated file, go.mod or the formatting is stale
	go mod tidy -diff
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	git diff --exit-code -- $(GENERATED)
	@test -z "$$(git ls-files --others --exclude-standard -- $(GENERATED))" || \
		{ echo "not committed:"; git ls-files --others --exclude-standard -- $(GENERATED); exit 1; }

clean: ## Remove what was built
	rm -rf bin dist
