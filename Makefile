# Two commands: `make demo` and `make test`. Each sets up everything that it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint reproduce paintings clean

demo: .venv/core
	@$(BIN)/python -m nst.run --out out --overwrite

test: .venv/test lint
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What needs data that does not come with the project.
reproduce: .venv/core
	$(BIN)/python -m nst.train --data $(DATA) $(if $(TEACHER),--teacher $(TEACHER))

# The project's own paintings, drawn anew.
paintings: .venv/core
	$(BIN)/python -m nst.paint --out nst/styles --overwrite

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core: .venv/bin/python setup.cfg pyproject.toml constraints.txt
	@echo "installing into .venv (some minutes, once)"
	$(INSTALL) --editable .
	@touch $@

.venv/test: .venv/core
	$(INSTALL) --editable .[test]
	@touch $@

clean:
	rm -rf .venv build out *.egg-info
