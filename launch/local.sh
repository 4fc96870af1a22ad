#!/usr/bin/env bash
# Trains on this machine with the project's environment. All arguments go to experiments.train:
#     launch/local.sh --config=configs/digits.py --workdir=runs/digits
# Relative paths are relative to the repository root, from any current folder.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
  echo "python -m experiments.train --help lists its flags"
  exit 0
fi

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ ! -x .venv/bin/python ]]; then
  echo "launch/local.sh: there is no environment in $PWD/.venv: run 'make env' first" >&2
  exit 2
fi
exec .venv/bin/python -m experiments.train "$@"
