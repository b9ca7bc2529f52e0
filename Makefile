# make book | serve | data | test | lint | bench | install | clean
# Uses the active virtual environment; without one it makes .venv here.

PYTHON ?= python3
VENV := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.mrbook-$(shell pwd | cksum | cut -d' ' -f1)
PORT ?= 8000

.PHONY: book serve data test lint bench install clean

book: $(INSTALLED)
	@# A page warns only when it is written anew: without this a second build would hide the first one's warnings.
	rm -rf _build/html _build/.doctrees
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

serve: $(INSTALLED)
	@test -f _build/html/index.html || $(MAKE) book
	@echo "Serving http://127.0.0.1:$(PORT) - Ctrl-C stops"
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

# CIFAR-10, for the chapters that train; `make book` never waits for it and does without where it is not there.
data: $(INSTALLED)
	$(BIN)/python -m mrbook data

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m mrbook bench

install: $(INSTALLED)

clean:
	rm -rf _build dist build *.egg-info .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.12 book" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -r requirements.txt -e .
	@touch $@
