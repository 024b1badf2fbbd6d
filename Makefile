# bzdata: every target that people and the CI use. Plain `make` lists them.

GO      ?= go
FUZZTIME ?= 30s
DATA    ?= ../shared/data
VERSITYGW ?= v1.8.0
VENV    ?= $(CURDIR)/.venv
CORPUS  ?= -

.DEFAULT_GOAL := help
.PHONY: help build demo test check lint unit compiler short cross race fuzz bench bench-peers interop tokenizers cuda-compile cuda-test gpu-check gpu-check-build gsm8k ablation calibration scale full-size cycles s3 nightly clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/bzdata
	$(GO) build -o bin/bzdata ./cmd/bzdata

demo: build ## make a sample corpus and model, run the whole job on it, say where the report is
	bin/bzdata sample demo
	bin/bzdata run demo/plan.yaml
	@echo "report: demo/runs/sample/report.html"

test: lint cross unit short ## everything that must pass: format, vet, cross builds, tests, race detector on the short set

check: test ## the same, by another name

lint: ## formatting, vet, tidy module file
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-ed: $$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) mod tidy -diff

cross: ## build for linux/arm64 and darwin/arm64, and without the GPU device
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/bzdata
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/bzdata
	CGO_ENABLED=0 $(GO) build -tags nocuda -o /dev/null ./cmd/bzdata

# The limit is for tests that hang: on a busy machine with a slow disk those of stages take a quarter of an hour.
unit: compiler ## all tests, in random order
	$(GO) test -shuffle=on -timeout 60m ./...

# The tests of the GPU device build the libraries that stand in for a card's.
compiler: ## g++, which tests of the GPU device need; fetched where apt can
	@command -v g++ >/dev/null || { apt-get update -qq && apt-get install -y -qq g++; }

short: compiler ## the short tests under the race detector
	$(GO) test -race -short -timeout 60m ./...

race: ## all tests under the race detector
	$(GO) test -race -timeout 60m ./...

# Making inputs of files smaller would take nearly all of the time.
fuzz: ## each fuzz target for FUZZTIME
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1; \
	  done; \
	done

bench: ## every benchmark once, so that none breaks unseen
	$(GO) test -run '^$$' -bench . -benchtime 1x ./...

bench-peers: build ## measure against datatrove, DuckDB and others: bench/README.md
	cd bench && GOFLAGS=-mod=mod $(GO) test . && GOFLAGS=-mod=mod $(GO) run . all

gsm8k: build ## the check on real data in DATA: see examples/gsm8k
	examples/gsm8k/run.sh $(DATA)

ablation: ## what each stage of that check earns: three seeds with and without each, on the data in DATA
	examples/gsm8k/ablate.sh $(DATA)

calibration: ## hold intervals, gate and scores against forty real updates, on the data in DATA
	examples/calibration/run.sh $(DATA)

scale: ## ten million documents under 512 MiB and 8 GiB: peak memory, and the same bytes
	examples/scale/run.sh

cycles: ## twenty mining cycles against the clock, on a machine that is made slower, and a loop
	examples/cycle/run.sh

full-size: ## route 8,192 tokens through a DeepSeek-V2-Lite of 31 GB, made on the spot, within 20 GiB
	examples/fullsize/run.sh

s3: ## the tests of object storage against a real server, built outside the repository
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	  GOBIN=$$dir CGO_ENABLED=0 $(GO) install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW) && \
	  BZDATA_S3_SERVER=$$dir/versitygw $(GO) test -count=1 -v -run 'TestRealServer' ./pipeline/store/remote

interop: build ## open the outputs with the readers that users have: datasets, pyarrow, DuckDB, torch, datatrove, Megatron-LM, TensorBoard, W&B; tokenizers
	examples/interop/run.sh $(VENV)
	examples/interop/metrics.sh $(VENV)
	examples/interop/tokenizers.sh $(VENV)

tokenizers: ## ids of the files TOKENIZERS on the texts of the folder CORPUS against Hugging Face's
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && \
	  examples/interop/tokenizers.sh $(VENV) "$$work" $(CORPUS) $(TOKENIZERS)

cuda-compile: ## compile the kernels of a card with NVIDIA's compilers for every architecture, and say what they take of it
	examples/interop/cuda.sh $(VENV)

cuda-test: ## the tests of kernels and models on this machine's NVIDIA card
	BZDATA_TEST_CARD=1 $(GO) test -count=1 -timeout 30m ./train/tensor/cuda ./train/device

gpu-check-build: ## build bin/gpu-check, which is all that a machine with a card needs: bench/GPU.md
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o bin/gpu-check ./examples/gpu-check

gpu-check: gpu-check-build ## on a machine with a card: results, speed and memory, into bin/gpu-check.json, which is gone on with
	bin/gpu-check --results bin/gpu-check.json all

nightly: build ## ten nights with a kept index against one run over all days: see examples/nightly
	$(GO) run ./examples/nightly bin/bzdata nightly $(NIGHTLY_DOCUMENTS)

clean: ## delete what building and the demo left
	rm -rf bin demo nightly
