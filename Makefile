VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/runnerctl/runnerctl/commands.Version=$(VERSION)
ARCH ?= $(shell go env GOARCH)
WITH_DOCKER := scripts/host/with-docker.sh

.DEFAULT_GOAL := help
.PHONY: help setup machine build image agent man demo picture test test-long test-hosts test-vm test-cache test-k8s kubernetes chaos jobs bench bench-quick vet lint golden

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)

setup: ## prepare this machine (asks unless YES=1 or CI=true)
	scripts/host/setup.sh $(if $(YES),--yes) $(FOR)

build: machine ## bin/runnerctl, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/runnerctl .

# disablethp: where the kernel uses huge pages unasked, each process of the runtime would take 3 MiB more.
machine: ## the runtime of runners, which runnerctl embeds, for each architecture
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X runtime.godebugDefault=disablethp=1' -o internal/machine/embedded/programs/machine-$$arch ./internal/machine/program || exit 1; \
	done

agent: ## bin/testagent-linux-ARCH.tar.gz, a stand-in for GitHub's runner (ARCH=arm64 selects an architecture)
	go -C testagent run ./pack -arch $(ARCH) -o ../bin/testagent-linux-$(ARCH).tar.gz

man: build ## bin/runnerctl.1, the man page
	bin/runnerctl man > bin/runnerctl.1

demo: setup build agent ## run a demo: a stand-in GitHub, three runners, nine jobs in three waves
	$(WITH_DOCKER) bin/runnerctl demo --bootstrap-base

picture: setup build image ## update the README's picture from a real run
	$(WITH_DOCKER) scripts/picture.sh

vet: ## go vet for every supported client system, shellcheck
	go vet ./...
	go vet -tags long,vm,cache,k8s ./...
	go -C testagent vet ./...
	go -C tools/terminal vet ./...
	go -C tools/wording vet ./...
	go -C tools/manifests vet ./...
	go -C deviceplugin vet ./...
	GOOS=linux GOARCH=arm64 go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...
	shellcheck -S warning $$(grep -rlE '^#!.*(sh|bash)$$' scripts) scripts/completion/bash
	for file in $$(grep -rlE '^#!.*perl( -[wI].*)?$$' scripts) scripts/escape/*.pl; do perl -Iscripts/escape -Iscripts/image -wc $$file || exit 1; done

# Two packages at a time. The longest ones begin, so that none is left alone at the end.
LONGEST := ./internal/e2e/compatibility ./internal/e2e/lifecycle ./internal/e2e/supervision ./internal/e2e/machine ./internal/e2e/doctor ./internal/e2e/workflows
GO_TEST = $(WITH_DOCKER) go test -count=1 -timeout 90m -tags '$(TAGS)'

test test-long: FOR := --tests
test-long: export CHAOS_FOR := 2m
test-long: TAGS := long
test: ## all tests except the long ones, on a real engine
test-long: ## the long ones too, up to 90 minutes
test test-long: setup build image
	go -C tools/terminal test -count=1 ./...
	go -C tools/wording test -count=1 ./...
	go -C tools/manifests test -count=1 ./...
	go -C deviceplugin test -count=1 ./...
	$(GO_TEST) -p 2 $(LONGEST) ./...

image: setup build
	$(WITH_DOCKER) bin/runnerctl build --bootstrap-base --progress plain

test-hosts: FOR := --tests
test-hosts: setup build image ## each key of an engine's daemon.json on a private engine: doctor and up agree; about 10 minutes
	$(WITH_DOCKER) go test -count=1 -timeout 60m -tags long -run 'TestHostKeys$$|TestSupervisorOverLiveRestore$$' -v ./internal/e2e/compatibility

test-vm: FOR := --vm
test-vm: setup build ## prepare a Debian 13 machine in qemu as a host, over ssh; about 20 minutes
	$(WITH_DOCKER) go test -count=1 -timeout 45m -tags vm -v ./internal/e2e/vm

test-cache: FOR := --tests
test-cache: setup build image ## the cache with its real clients, its faults and figures; about 25 minutes
	$(WITH_DOCKER) go test -count=1 -timeout 60m -tags 'long cache' -v ./internal/e2e/cache

# Compiled once for each version: they take minutes.
KUBERNETES := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/runnerctl/kubernetes-$(shell sha256sum tools/kubernetes/go.sum | cut -c 1-12)
$(KUBERNETES)/kubelet:
	CGO_ENABLED=0 go -C tools/kubernetes build -trimpath -ldflags '-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2' -o $(KUBERNETES)/ k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubelet

kubernetes: $(KUBERNETES)/kubelet ## compile the programs of test-k8s

test-k8s: FOR := --tests
test-k8s: export KUBERNETES_PROGRAMS = $(KUBERNETES)
test-k8s: setup build kubernetes ## the exported objects on a real node of Kubernetes; about 5 minutes, 20 the first time
	$(WITH_DOCKER) go test -count=1 -timeout 30m -tags k8s -v ./internal/e2e/kubernetes

chaos: FOR := --tests
chaos: export CHAOS_FOR ?= 10m
chaos: setup build ## inject random faults into a supervised fleet for CHAOS_FOR=10m; CHAOS_SEED=… repeats a run's choices
	$(WITH_DOCKER) go test -count=1 -timeout 90m -tags long -run 'TestChaos$$' -v ./internal/e2e/supervision

jobs: FOR := --tests
jobs: export FLEET_JOBS ?= 200
jobs: setup build ## run FLEET_JOBS=200 jobs on a supervised fleet of four
	$(WITH_DOCKER) go test -count=1 -timeout 90m -tags long -run 'TestJobsThroughAFleet$$' -v ./internal/e2e/supervision

bench: setup build ## measure the figures (bench/results.json, docs/bench), fail if a limit is missed
	$(WITH_DOCKER) go run ./bench

bench-quick: setup build ## the same in a few minutes, fewer samples
	$(WITH_DOCKER) go run ./bench -quick

lint: ## golangci-lint and actionlint, pinned in tools/, and the wording of all texts
	go -C tools/wording run . -C ../..
	go tool -modfile=tools/go.mod golangci-lint run ./...
	go tool -modfile=tools/actionlint/go.mod actionlint .github/workflows/*.yml
	go tool -modfile=tools/actionlint/go.mod actionlint -shellcheck= testdata/workflows/*.yaml

GOLDEN := Golden$$|Page$$|^TestWriteText$$|^TestJSON$$|^TestScript$$|^TestReportIsOfTheResults$$
golden: ## rewrite golden files and generated pages
	go test -run '$(GOLDEN)' ./internal/doctor ./templates ./dockerx ./bench ./internal/e2e/compatibility ./internal/e2e/doctor -update
