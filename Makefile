# Set-up and daily work in a checkout. Needs make and Python 3.11, 3.12 or 3.13, nothing else;
# what it installs stays in .venv.

# Another Python than the first that fits: make train PYTHON=python3.12
PYTHON ?=
# How many test processes run at once.
WORKERS ?= 2

.PHONY: help env train test test-all lint format clean

help:  ## Show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# A script in a variable, as one recipe line each would lose the functions. It reads PYTHON from
# the environment, so that a path with spaces stays one word.
define MAKE_ENV
fail() { echo "make: $$1" >&2; exit 2; }
version() { "$$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
made_from() { pwd; cat setup.py constraints.txt; }
stamp=.venv/.made-from

# A finished environment is kept, or brought up to date; any other is made from scratch.
have=$$(version .venv/bin/python)
fresh=--clear
if [ -f $$stamp ] && [ -n "$$have" ]; then
  if [ -z "$$PYTHON" ] || [ "$$(version "$$PYTHON")" = "$$have" ]; then
    [ "$$(cat $$stamp)" = "$$(made_from)" ] && exit 0
    [ "$$(head -n 1 $$stamp)" = "$$(pwd)" ] && fresh=
  fi
fi

if [ -n "$$fresh" ]; then
  if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3 python3.13 python3.12 python3.11; fi
  python=
  for candidate; do
    found=$$(version "$$candidate")
    case $$found in 3.11.*|3.12.*|3.13.*) python=$$candidate; break ;; esac
  done
  if [ -z "$$python" ]; then
    found=$$(version "$$1")
    [ -n "$$found" ] || fail "no $$1 that runs: install Python 3.11, 3.12 or 3.13 (on Debian: apt install python3 python3-venv)"
    fail "$$1 is Python $$found, needed is 3.11, 3.12 or 3.13: install one, then e.g. make env PYTHON=python3.12"
  fi
  "$$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$$python has no venv or no pip: install them (on Debian: apt install python3-venv, or python$${found%.*}-venv)"
  echo "Making .venv with Python $$found: a minute or two, and 3 GB of disk"
  "$$python" -m venv --clear .venv || fail "could not make .venv (the reason is above)"
else
  echo "Bringing .venv up to date: setup.py or constraints.txt has changed"
fi

# Without its stamp, an installation that ends half-way is not taken for done.
rm -f $$stamp
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  -e '.[data,dev]' -c constraints.txt ||
  fail "pip could not install (the reason is above): see to the network or the disk, then make again"
made_from > $$stamp
endef
export MAKE_ENV PYTHON

env:  ## Make the environment .venv, or bring it up to date
	@sh -c "$$MAKE_ENV"

train: env  ## Train the small default model on the handwritten digits, into runs/digits
	.venv/bin/python -m experiments.train --config=configs/digits.py --workdir=runs/digits
	.venv/bin/python -m experiments.attention_maps --workdir=runs/digits --example=0 --cross_attends=2 --out=runs/digits/maps

test: env  ## Run the quick tests
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: env  ## Run all tests, the slow ones too
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile

lint: env  ## Check style and likely mistakes
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .

format: env  ## Put files into the common format
	.venv/bin/python -m ruff check --select I --fix --quiet .
	.venv/bin/python -m ruff format .

clean:  ## Remove the environment and caches; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache build dist ./*.egg-info
	find . \( -path ./runs -o -path ./.git \) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
