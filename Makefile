# Sets up a checkout and runs the daily commands. Needs only make and a Python that pyproject.toml
# supports. All packages are installed into .venv.

# Python of the environment; by default the first supported one: make train PYTHON=python3.12
PYTHON ?=
# Number of test processes that run at the same time.
WORKERS ?= 2

.PHONY: help env train test test-all lint format clean

help:  ## Show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# The script is a variable because separate recipe lines could not share functions. It reads PYTHON
# from the environment so that a path with spaces stays one word.
define MAKE_ENV
fail() { echo "make: $$1" >&2; exit 2; }
version() { "$$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
made_from() { pwd; cat pyproject.toml constraints.txt; }
stamp=.venv/.made-from

# A complete environment is kept or updated. Any other environment is made again.
have=$$(version .venv/bin/python)
fresh=--clear
if [ -f $$stamp ] && [ -n "$$have" ]; then
  if [ -z "$$PYTHON" ] || [ "$$(version "$$PYTHON")" = "$$have" ]; then
    [ "$$(cat $$stamp)" = "$$(made_from)" ] && exit 0
    [ "$$(head -n 1 $$stamp)" = "$$(pwd)" ] && fresh=
  fi
fi

if [ -n "$$fresh" ]; then
  # requires-python = ">=3.11,<3.14" becomes "3.13 3.12 3.11".
  supported=$$(awk -F '[^0-9]+' \
    '/^requires-python/ { for (minor = $$5 - 1; minor >= $$3; minor--) printf "3.%d ", minor }' pyproject.toml)
  set -- $$supported
  listed="$$1"; newest="$$1"; separator=" or "; shift
  for minor; do listed="$$minor$$separator$$listed"; separator=", "; done

  set -- python3
  for minor in $$supported; do set -- "$$@" "python$$minor"; done
  [ -z "$$PYTHON" ] || set -- "$$PYTHON"
  python=
  for candidate; do
    found=$$(version "$$candidate")
    case " $$supported" in *" $${found%.*} "*) python=$$candidate; break ;; esac
  done
  if [ -z "$$python" ]; then
    found=$$(version "$$1")
    [ -n "$$found" ] || fail "no $$1 that runs: install Python $$listed (on Debian: apt install python3 python3-venv)"
    fail "$$1 is Python $$found, needed is $$listed: install one, then for example make env PYTHON=python$$newest"
  fi
  "$$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$$python has no venv or no pip: install them (on Debian: apt install python3-venv, or python$${found%.*}-venv)"
  echo "Making .venv with Python $$found: this takes a minute or two and 3 GB of disk"
  "$$python" -m venv --clear .venv || fail "could not make .venv (the reason is above)"
else
  echo "Updating .venv: pyproject.toml or constraints.txt has changed"
fi

# The stamp is written last, so an interrupted installation does not count as complete.
rm -f $$stamp
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  -e '.[train,dev]' -c constraints.txt ||
  fail "pip could not install the packages (the reason is above): check the network and the disk, then run make again"
made_from > $$stamp
endef
export MAKE_ENV PYTHON

env:  ## Make the environment .venv, or update it
	@sh -c "$$MAKE_ENV"

train: env  ## Train the small default model on handwritten digits, in runs/digits
	.venv/bin/python -m experiments.train --config=configs/digits.py --workdir=runs/digits
	.venv/bin/python -m experiments.attention_maps --workdir=runs/digits --example=0 --cross_attends=2 --out=runs/digits/maps

test: env  ## Run the quick tests
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-all: env  ## Run all tests, including the slow ones
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal

lint: env  ## Check style, likely mistakes and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

format: env  ## Format all files
	.venv/bin/python -m ruff check --select I --fix --quiet .
	.venv/bin/python -m ruff format .

clean:  ## Remove the environment and caches, but not runs/
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build dist ./*.egg-info
	find . \( -path ./runs -o -path ./.git \) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
