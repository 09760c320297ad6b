# Every target sets up what it needs in .venv, from nothing but Python >= 3.11. Two stages: the light runtime (no torch)
# for demo and serve, the development tools on top for everything else.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS ?=

.PHONY: demo test exhaustive test-peers drains overhead clients64 overload soak resilience check serve protos docs bench fuzz fuzz-service lint types upgrade clean
.DEFAULT_GOAL := check

demo: .venv/.runtime          ## explains four digits by six methods, in explainsvc-demo/
	$(BIN)/explainsvc demo $(ARGS)

serve: .venv/.runtime         ## the gRPC server on a local port
	$(BIN)/explainsvc serve $(ARGS)

test: .venv/.dev              ## all tests; make test ARGS="-k lrp --cov"
	OMP_NUM_THREADS=1 EXPLAINSVC_SESSION_CACHE_BYTES=1000000000 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

exhaustive: .venv/.dev        ## the tests that CI leaves out: more exports and larger networks of the same kinds
	OMP_NUM_THREADS=1 EXPLAINSVC_SESSION_CACHE_BYTES=1000000000 $(BIN)/python -m pytest -n 2 --dist worksteal -m exhaustive $(ARGS)

test-peers: .venv/.dev        ## clients that nobody here wrote, each in an environment of its own below .cache/peers/; needs Go and a module proxy
	OMP_NUM_THREADS=1 EXPLAINSVC_SESSION_CACHE_BYTES=1000000000 $(BIN)/python -m pytest -m exhaustive tests/peers tests/service/peers $(ARGS)

drains: .venv/.dev            ## 50 SIGTERM while clients wait: none may lose a call; make drains ARGS="--drains 5"
	$(BIN)/python -m benchmarks.drains $(ARGS)

overhead: .venv/.dev          ## what the service adds to the call in process: 5 ms at the 99th percentile up to 1 MiB
	$(BIN)/python -m benchmarks.service_overhead $(ARGS)

clients64: .venv/.dev         ## 64 clients, mixed models and methods, 10 minutes: every answer is the serial one; ARGS="--minutes 1"
	$(BIN)/python -m benchmarks.clients64 $(ARGS)

overload: .venv/.dev          ## ten times what a server can do: it keeps 80 % of its answers and refuses the rest
	$(BIN)/python -m benchmarks.overload $(ARGS)

soak: .venv/.dev              ## 30 minutes of mixed load: memory may grow by 1 MB in 10 minutes; make soak ARGS="--minutes 2"
	$(BIN)/python -m benchmarks.soak $(ARGS)

check: lint types             ## everything that needs no test run
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check
	$(BIN)/python protos/lint.py
	$(BIN)/python docs/tables.py --check
	$(BIN)/python docs/methods.py --check
	$(BIN)/python docs/operators.py --check
	$(BIN)/python docs/settings.py --check
	$(BIN)/python docs/api.py --check
	$(BIN)/python docs/errors.py --check

lint: .venv/.dev              ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev             ## mypy --strict
	$(BIN)/mypy

protos: .venv/.dev            ## protos/explainpb from protos/explainsvc
	$(BIN)/python protos/generate.py

docs: .venv/.dev              ## README's tables and the generated pages of docs/ from registries, settings, case rows, protos
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/methods.py
	$(BIN)/python docs/operators.py
	$(BIN)/python docs/settings.py
	$(BIN)/python docs/api.py
	$(BIN)/python docs/errors.py

bench: .venv/.dev             ## against the peers, each in an environment of its own, as multiples of onnxruntime forwards; ARGS="gradients --quick"
	$(BIN)/python -m benchmarks $(ARGS)

resilience: .venv/.dev        ## 100 kills of workers and 1,000 cancellations, with controls; some minutes
	$(BIN)/python -m benchmarks.resilience $(ARGS)

fuzz: .venv/.dev              ## random graphs against finite differences; make fuzz ARGS="--graphs 500 --seed 7"
	OMP_NUM_THREADS=1 EXPLAINSVC_THREADS=1 EXPLAINSVC_SESSION_CACHE_BYTES=1000000 $(BIN)/python -m tests.fuzz $(ARGS)

fuzz-service: .venv/.dev      ## mutated models and messages against a server; make fuzz-service ARGS="--number 500 --seed 7"
	OMP_NUM_THREADS=1 EXPLAINSVC_THREADS=1 EXPLAINSVC_SESSION_CACHE_BYTES=1000000000 $(BIN)/python -m tests.service.fuzz $(ARGS)

upgrade:                      ## the newest versions that fit pyproject.toml into constraints.txt
	.ci/upgrade $(PYTHON)

clean:                        ## forget the environment and every cache
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage*

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "explainsvc needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

.venv/.runtime: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	@touch $@

.venv/.dev: .venv/.runtime
	$(PIP) --editable '.[dev]'
	@touch $@
