# Every target makes or renews the environment it needs in .venv first; see `make help`.
# Another Python than the system's python3:  make PYTHON=python3.12 book

PYTHON ?= python3
NB ?=
FORCE ?=

PY := .venv/bin/python
# A Python named on the command line or in the environment is meant: remake .venv if it is of another.
EXPLICIT := $(if $(filter file default,$(origin PYTHON)),,--explicit)
# Processes that run side by side get one thread each: their threads would only wait for one another.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
# Notebooks carry no progress bars: the bars would differ with every run.
NO_BARS := TQDM_DISABLE=1
# What the notebooks of the exercises do here is not the user's own progress.
NO_TRACE := AIGC_LAB_PROGRESS="$(CURDIR)/_build/progress.json"

.PHONY: help book notebooks lab test bench format clean env-site env-full
.DEFAULT_GOAL := help

help: ## this list
	@echo "Targets (times on two cores):"
	@awk -F ' *## *' '/^[a-z]+:.*## /{sub(/:.*/, "", $$1); printf "  make %-11s%s\n", $$1, $$2}' Makefile

book: env-site ## the site, in _build/html (first time about a minute, then seconds)
	@"$(PY)" -m tools.book

notebooks: env-full ## make exercises, run changed chapters (1-2 min each); NB=04 only that one; FORCE=1 all anew
	@$(NO_BARS) $(NO_TRACE) "$(PY)" -m tools.notebooks run $(if $(NB),--only "$(NB)") $(if $(FORCE),--force)
	@"$(PY)" -m tools.exercises write

lab: env-full ## Jupyter Lab in notebooks/ (first time about 5 minutes to install)
# The root of the server holds book/chapters too, so that saving a notebook updates the chapter's text.
	@"$(PY)" -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

test: env-full ## everything CI runs: style, tests, notebooks, site (about 12 minutes, more while installing)
	@echo "== style"
	@"$(PY)" -m ruff format --check .
	@"$(PY)" -m ruff check .
	@echo "== tests"
	@$(ONE_THREAD) $(NO_TRACE) "$(PY)" -m pytest -n 2 --ignore tests/test_site.py
	@echo "== notebooks run again (nbval)"
	@$(ONE_THREAD) $(NO_BARS) $(NO_TRACE) "$(PY)" -m pytest --nbval-lax --nbval-current-env -n 2 --dist loadscope notebooks/
	@echo "== notebooks agree with their text and code"
	@"$(PY)" -m tools.notebooks check
	@"$(PY)" -m tools.exercises check
	@echo "== strict site build"
	@"$(PY)" -m tools.book
	@echo "== site"
	@REQUIRE_SITE=1 "$(PY)" -m pytest tests/test_site.py
	@echo "== all steps passed"

bench: env-full ## speed and quality beside other implementations
	@"$(PY)" -m benchmarks

format: env-full ## format the code and the chapters' cells, and mend what ruff can mend
	@"$(PY)" -m ruff format .
	@"$(PY)" -m ruff check --fix .
	@"$(PY)" -m tools.format_chapters

clean: ## remove what can be made again, except .venv
	@rm -rf _build build .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name .venv -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -print0 | xargs -0 rm -rf

env-site:
	@"$(PYTHON)" tools/env.py site $(EXPLICIT) --target "$(or $(firstword $(MAKECMDGOALS)),book)"

env-full:
	@"$(PYTHON)" tools/env.py full $(EXPLICIT) --target "$(or $(firstword $(MAKECMDGOALS)),book)"
