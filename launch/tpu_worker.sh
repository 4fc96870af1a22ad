#!/usr/bin/env bash
# Commands that launch/tpu_pod.sh runs on each worker of a TPU pod, over ssh:
#     launch/tpu_worker.sh setup           installs the environment and the TPU libraries
#     launch/tpu_worker.sh idle            fails if training is running
#     launch/tpu_worker.sh start FLAGS     trains in the background, with restarts until it is done
#     launch/tpu_worker.sh status          running, done, stopped, interrupted, failed N or idle
#     launch/tpu_worker.sh stop            sends SIGTERM, which saves, and waits for the end
# The files of a run are in ~/perceiver-train: log (appended by all runs), flags, status.
#
# After status 75 (stopped by a signal, saved) or a crash, training restarts after RESTART_PAUSE
# seconds (10). It does not restart after 0 (done), 2 (wrong input), or five crashes in a row with
# the same newest checkpoint.
set -euo pipefail

MOST_CRASHES=5
pause=${RESTART_PAUSE:-10}
state=$HOME/perceiver-train

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
  exit 0
fi

cd -- "$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
mkdir -p -- "$state"

fail() { echo "launch/tpu_worker.sh: $1" >&2; exit "${2:-2}"; }
note() { echo "--- $(date -u +%FT%TZ) $(hostname): $1"; }

# The loop and the training hold the lock while they run, so it can't be stale, unlike a pid.
running() { ! flock --nonblock "$state/lock" true; }

setup() {
  # TPU workers have Ubuntu 22.04 with Python 3.10.
  if ! type -p make >/dev/null ||
    [[ -z $(type -p python3.11 || type -p python3.12 || type -p python3.13) ]]; then
    sudo apt-get update --quiet=2
    sudo apt-get install --quiet=2 --yes make python3.11 python3.11-venv
  fi
  make env
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -e '.[train,tpu]' -c constraints.txt
}

start() {
  [[ -x .venv/bin/python ]] || fail "there is no environment in $PWD/.venv: run setup first"
  local flags
  flags=$(printf '%q ' "$@")
  if running; then
    [[ $(cat -- "$state/flags") == "$flags" ]] ||
      fail "$(hostname) already trains, with $(cat -- "$state/flags"): stop that first"
    echo "$(hostname) already trains this"
    return
  fi
  rm -f -- "$state/status" "$state/stop" "$state/pid"
  printf '%s' "$flags" >"$state/flags"
  # A new session continues after ssh ends, and is one process group for signals.
  setsid nohup bash launch/tpu_worker.sh keep "$@" >>"$state/log" 2>&1 </dev/null &
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    [[ ! -s $state/pid ]] || break
    sleep 0.1
  done
  [[ -s $state/pid ]] || fail "training did not start on $(hostname): see $state/log" 1
  echo "$(hostname) trains; its log is $state/log"
}

# Prints the step of the newest checkpoint in the --workdir of the flags; 0 without one.
newest_checkpoint() {
  local workdir='' previous='' word path newest=0
  for word; do
    [[ $word != --workdir=* ]] || workdir=${word#*=}
    [[ $previous != --workdir ]] || workdir=$word
    previous=$word
  done
  for path in "${workdir:-.}"/checkpoints/*; do
    path=${path##*/}
    [[ ! $path =~ ^[0-9]+$ ]] || ((10#$path <= newest)) || newest=$((10#$path))
  done
  echo "$newest"
}

keep() {
  exec 9>"$state/lock"
  flock --nonblock 9 || fail "$(hostname) already trains" 1
  # Signals go to the whole group, so that training receives them too, and saves. The trap notes
  # that the loop must end; bash runs it after training has ended.
  local ending=''
  trap 'ending=yes' TERM USR1
  # Signals are safe from here on: start waits for this file, and stop reads it.
  echo "$$" >"$state/pid"
  local status crashes=0 before now
  before=$(newest_checkpoint "$@")
  while true; do
    note "experiments.train $(printf '%q ' "$@")"
    status=0
    .venv/bin/python -m experiments.train "$@" || status=$?
    note "ended with status $status"
    if [[ -n $ending || $status == 0 || $status == 2 ]]; then break; fi
    if ((status != 75)); then
      now=$(newest_checkpoint "$@")
      if ((now > before)); then crashes=0; fi
      before=$now
      crashes=$((crashes + 1))
      if ((crashes >= MOST_CRASHES)); then
        note "$crashes crashes in a row at checkpoint $now: giving up"
        break
      fi
    fi
    sleep "$pause" || true
    if [[ -n $ending ]]; then break; fi
  done
  echo "$status" >"$state/status.new"
  mv -- "$state/status.new" "$state/status"
}

status() {
  local word=idle
  if running; then
    word=running
  elif [[ -f $state/stop ]]; then
    word=stopped
  elif [[ -f $state/status ]]; then
    case $(cat -- "$state/status") in
      0) word='done' ;;
      75) word=interrupted ;;
      *) word="failed $(cat -- "$state/status")" ;;
    esac
  fi
  echo "perceiver-train: $word"
}

stop() {
  if ! running; then
    echo "nothing is running on $(hostname)"
    return
  fi
  touch -- "$state/stop"
  kill -TERM -- "-$(cat -- "$state/pid")"
  local seconds
  for ((seconds = 0; seconds < 600; seconds++)); do
    if ! running; then
      echo "$(hostname) has stopped: status $(cat -- "$state/status" 2>/dev/null || echo unknown)"
      return
    fi
    sleep 1
  done
  fail "$(hostname) is still saving after 10 minutes: stop again to end it at once" 1
}

case ${1:-} in
  setup | start | keep | status | stop) "$@" ;;
  idle) if running; then fail "$(hostname) trains: stop it first"; fi ;;
  *) fail "'${1:-}' is no command: setup, idle, start, status or stop" ;;
esac
