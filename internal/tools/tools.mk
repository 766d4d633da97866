# SPDX-License-Identifier: Apache-2.0
#
# How to build the tools that the Makefile runs. go.mod and package-lock.json pin them.
CSPELL = bin/.cspell/node_modules/.bin/cspell

bin/controller-gen: internal/tools/go.sum
	@go -C internal/tools build -o ../../$@ sigs.k8s.io/controller-tools/cmd/controller-gen
bin/golangci-lint: internal/tools/go.sum
	@go -C internal/tools build -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
bin/misspell: internal/tools/go.sum
	@go -C internal/tools build -o ../../$@ github.com/golangci/misspell/cmd/misspell
bin/crd-ref-docs: internal/tools/crd-ref-docs/go.sum
	@go -C internal/tools/crd-ref-docs build -o ../../../$@ github.com/elastic/crd-ref-docs

# In a directory with a dot, because one of its modules contains a Go package, which ./... must not find.
$(CSPELL): internal/tools/spelling/package.json internal/tools/spelling/package-lock.json
	@internal/tools/debian.sh node=nodejs npm=npm
	@install -D -m 0644 -t bin/.cspell $^
	@npm --prefix bin/.cspell ci --ignore-scripts --no-audit --no-fund
	@touch $@
