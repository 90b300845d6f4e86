# Two commands do everything on a fresh machine with Python 3.11+, git and make:
#   make demo    install, compile real contracts, train a small decompiler on them and judge it; says where the report is
#   make test    install, then run the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test slow proofs check format docs bench clean help

help:
	@echo "make demo    a small decompiler from nothing, judged by compiling and running (6 to 10 minutes on 2 CPU cores)"
	@echo "make test    run the tests (a few minutes)"
	@echo "make slow    run the long tests only"
	@echo "make proofs  kill, fill, fault and corrupt many times; prints figures (about 10 minutes)"
	@echo "make check   style, types, import directions"
	@echo "make docs    write docs/recipe.md and the example of docs/evm.md again"
	@echo "make format  let ruff rewrite the style"
	@echo "make bench   measure against other trainers (long)"

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "whet needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/.fetched: $(VENV)/.installed
	$(BIN)/python -m whet.evm.solc.npm solc@0.8.30 @openzeppelin/contracts@5.7.0 solmate@6.8.0
	@touch $@

demo: $(VENV)/.fetched
	$(BIN)/whet run decompiler-quickstart
	@echo
	@echo "Open runs/decompiler-quickstart/report.html in a browser: source, three-address code, model and emitter side by side."
	@echo "Then try:"
	@echo "  $(BIN)/whet decompile token.hex                 needs no model: Solidity that was compiled and compared"
	@echo "  $(BIN)/whet preview decompiler-quickstart       what the model was trained on, in colour"
	@echo "  $(BIN)/whet run scratch-quickstart              a code model from Python's own library, without a network"

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

proofs: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/proofs -v

check: $(VENV)/.installed
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix src tests bench
	$(BIN)/ruff format src tests bench

docs: $(VENV)/.installed
	$(BIN)/python -m whet.recipe.reference > docs/recipe.md
	$(BIN)/python -m tests.docs.test_evm_page

bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps litgpt==0.5.13  # pins an older huggingface_hub than transformers 5 needs
	$(BIN)/python bench/trainers.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
