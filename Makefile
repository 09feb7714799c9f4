# The front door. Every word makes the virtual environment it needs, in .venv; PYTHON names another interpreter than python3.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help check test bench docs schema clean

help:
	@echo "make check   lint, format, types, who imports whom"
	@echo "make test    the tests"
	@echo "make bench   the benchmarks"
	@echo "make docs    the reference, the pictures and the JSON Schemas made from the code"
	@echo "make clean   remove what these words made"

check: $(READY)
	.ci/check $(BIN)

test: $(READY)
	$(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python benchmarks/run.py

docs: $(READY) schema
	$(BIN)/python docs/build.py

schema: $(READY)
	$(BIN)/python -c 'import json; from runlocal.catalog.schema import json_schema; print(json.dumps(json_schema(), indent=2, ensure_ascii=False))' > docs/schema/model-file-1.json

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	touch $@
