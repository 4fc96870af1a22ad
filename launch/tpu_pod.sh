#!/usr/bin/env bash
# Trains on a TPU pod of Google Cloud: requests a pod, copies this checkout to its workers, and
# starts experiments.train on all of them.
#
#     launch/tpu_pod.sh create NAME      request the pod, and wait until it is active
#     launch/tpu_pod.sh setup  NAME      copy the last commit of this checkout, install its packages
#     launch/tpu_pod.sh train  NAME -- --config=configs/imagenet.py --workdir=/mnt/runs/a
#     launch/tpu_pod.sh status NAME      print the state of the pod, and of the run on each worker
#     launch/tpu_pod.sh logs   NAME      follow the log of worker 0
#     launch/tpu_pod.sh stop   NAME      send SIGTERM: the run saves and ends
#     launch/tpu_pod.sh delete NAME      delete the pod with all files on its disks
#
# Options, with the variables of their defaults:
#     --zone=ZONE        TPU_POD_ZONE     such as europe-west4-b
#     --project=PROJECT  TPU_POD_PROJECT  by default gcloud's
#     --type=TYPE        TPU_POD_TYPE     such as v5litepod-32; for create and --watch
#     --runtime=VERSION  TPU_POD_RUNTIME  system of the workers; by default that of the type
#     --spot             TPU_POD_SPOT=1   a cheaper pod that may be taken away at any time
#     --mount=COMMAND    TPU_POD_MOUNT    run on every worker in setup, possibly several times
#     --poll=SECONDS     TPU_POD_POLL     time between two checks of the pod (30)
#     --gcloud=FLAG      a flag for gcloud's create, such as --reserved; may be repeated
#     --watch            train: request new pods until the run is done
#     --dry-run          print the commands instead of running them
# Flags after -- go to experiments.train unchanged. --workdir must be on storage that all workers
# share, such as a Filestore (NFS) share that --mount mounts: gs:// is not supported.
#
# Status: 0 done, 2 wrong use; otherwise the status of gcloud, or with --watch of the training.
set -euo pipefail

MOST_FAILURES=5
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
worker='bash perceiver-jax/launch/tpu_worker.sh'

fail() { echo "launch/tpu_pod.sh: $1" >&2; exit "${2:-2}"; }
say() { echo "$(date -u +%FT%TZ) $name: $1" >&2; }

# Prints words quoted for a shell, each after a space.
quoted() {
  local word apostrophe="'\\''"
  for word; do
    if [[ $word =~ ^[[:alnum:]_./:=@%+,-]+$ ]]; then
      printf ' %s' "$word"
    else
      printf " '%s'" "${word//\'/$apostrophe}"
    fi
  done
}

# Runs a command, or prints it so that it can be pasted.
run() {
  if [[ -z $dry ]]; then
    "$@"
  else
    local line
    line=$(quoted "$@")
    echo "${line# }"
  fi
}

# -- the command line -----------------------------------------------------------------------------

command='' name='' watch='' dry=''
zone=${TPU_POD_ZONE:-} project=${TPU_POD_PROJECT:-} type=${TPU_POD_TYPE:-}
runtime=${TPU_POD_RUNTIME:-} spot=${TPU_POD_SPOT:-} mount=${TPU_POD_MOUNT:-}
poll=${TPU_POD_POLL:-30}
created_with=()
while (($#)); do
  case $1 in
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --mount=*) mount=${1#*=} ;;
    --poll=*) poll=${1#*=} ;;
    --gcloud=*) created_with+=("${1#*=}") ;;
    --spot) spot=1 ;;
    --watch) watch=1 ;;
    --dry-run) dry=1 ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --) shift; break ;;
    -*) fail "unknown option $1 (see --help); flags of experiments.train go behind --" ;;
    *)
      if [[ -z $command ]]; then command=$1
      elif [[ -z $name ]]; then name=$1
      else fail "'$1' is one word too many: COMMAND NAME [options] [-- flags of experiments.train]"
      fi
      ;;
  esac
  shift
done

case $command in
  create | setup | train | status | logs | stop | delete) ;;
  '') fail "say what to do: create, setup, train, status, logs, stop or delete; see --help" ;;
  *) fail "'$command' is no command: create, setup, train, status, logs, stop or delete" ;;
esac
[[ -n $name ]] || fail "$command what? give the pod's NAME"
[[ $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
  fail "'$name' can't name a pod: small letters, digits and '-', a letter first"
[[ -n $zone ]] || fail "--zone=ZONE (or TPU_POD_ZONE) is missing, such as europe-west4-b"
[[ $poll =~ ^[0-9]+$ ]] || fail "--poll=$poll is no number of seconds"
[[ $command == train || $# == 0 ]] || fail "$command takes nothing behind --, which has $1"
[[ $command == train || -z $watch ]] || fail "--watch belongs to train"
if [[ $command == create || -n $watch ]]; then
  [[ -n $type ]] || fail "--type=TYPE (or TPU_POD_TYPE) is missing, such as v5litepod-32"
fi
if [[ -z $runtime ]]; then
  case $type in
    v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
    v5p-*) runtime=v2-alpha-tpuv5 ;;
    v6e-*) runtime=v2-alpha-tpuv6e ;;
    *) runtime=tpu-ubuntu2204-base ;;
  esac
fi
if [[ $command == train ]]; then
  workdir='' previous=''
  for word; do
    [[ $word != --workdir=* ]] || workdir=${word#*=}
    [[ $previous != --workdir ]] || workdir=$word
    previous=$word
  done
  # A local folder is lost with the pod, and other workers could not restore from it.
  [[ $workdir == /* ]] ||
    fail "--workdir='$workdir' behind -- must be a path from / on storage that all workers share"
  [[ -z $watch || -n $mount ]] ||
    fail "--watch needs --mount=COMMAND (or TPU_POD_MOUNT): a new pod has nothing mounted"
fi
[[ -n $dry ]] || type -p gcloud >/dev/null || fail "there is no gcloud: install the Google Cloud CLI"

where=(--zone="$zone")
[[ -z $project ]] || where+=(--project="$project")
queued=(gcloud compute tpus queued-resources)
machines=(gcloud compute tpus tpu-vm)

scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
archive=$scratch/perceiver-jax.tar.gz
[[ -z $dry ]] || archive=${TMPDIR:-/tmp}/perceiver-jax.tar.gz

# -- the pod --------------------------------------------------------------------------------------

request() {
  local flags=(--node-id="$name" --accelerator-type="$type" --runtime-version="$runtime")
  [[ -z $spot ]] || flags+=(--spot)
  flags+=(${created_with[@]+"${created_with[@]}"})
  run "${queued[@]}" create "$name" "${where[@]}" "${flags[@]}"
}

give_back() { run "${queued[@]}" delete "$name" "${where[@]}" --force --quiet; }

describe() { run "${queued[@]}" describe "$name" "${where[@]}" '--format=value(state.state)'; }

# Prints the state of the queued resource, or ABSENT.
look() {
  if describe 2>"$scratch/error" </dev/null; then return; fi
  if grep -q NOT_FOUND "$scratch/error"; then echo ABSENT; return; fi
  cat -- "$scratch/error" >&2
  return 1
}

await() {
  if [[ -n $dry ]]; then describe; return; fi
  local now before=''
  while true; do
    now=$(look)
    [[ $now == "$before" ]] || say "$now"
    before=$now
    case $now in
      ACTIVE) return ;;
      FAILED | SUSPENDING | SUSPENDED | DELETING | ABSENT) fail "$name is $now, and will not come" 1 ;;
    esac
    sleep "$poll"
  done
}

# -- its workers ----------------------------------------------------------------------------------

# Runs a command in the shell of one worker, or of all at once.
on() { run "${machines[@]}" ssh "$name" "${where[@]}" --worker="$1" --command="$2" </dev/null; }

# Packs the last commit. This happens once, so that a run uses the same code on every new pod.
pack() {
  local changes
  changes=$(git -C "$root" status --porcelain | wc -l)
  ((changes == 0)) || say "$((changes)) uncommitted changes stay here: the last commit is sent"
  run git -C "$root" archive --format=tar.gz --output="$archive" HEAD
}

# Copies the packed checkout to all workers. A worker that has a checkout first runs the command
# `before`. The old checkout is removed by the names of its files, so that a workdir in it stays.
put() {
  local before=$1 old='' name_of_old
  while IFS= read -r -d '' name_of_old; do
    old+=$(quoted "$name_of_old")
  done < <(git -C "$root" ls-tree -z --name-only HEAD)
  run "${machines[@]}" scp "$archive" "$name:perceiver-jax.tar.gz" "${where[@]}" --worker=all &&
    { [[ -z $mount ]] || on all "$mount"; } &&
    on all "set -e; if [ -f perceiver-jax/launch/tpu_worker.sh ]; then $worker $before; fi; \
mkdir -p perceiver-jax; (cd perceiver-jax && rm -rf --$old); \
tar -xzf perceiver-jax.tar.gz -C perceiver-jax; $worker setup"
}

start() { on all "$worker start --distributed=cluster$(quoted "$@")"; }

ask="if [ -f perceiver-jax/launch/tpu_worker.sh ]; then $worker status; \
else echo perceiver-train: new; fi"

# -- until the run is done ------------------------------------------------------------------------

# Checks an ACTIVE pod once: ends the script if the run has ended, and starts the run if it has
# stopped. Returns 1 after a failure, so that the next check tries again.
attend() {
  local output words
  output=$(on all "$ask") || { say "the workers do not answer"; return 1; }
  words=$(sed -n 's/^perceiver-train: //p' <<<"$output" | sort -u)
  if [[ -z $started ]]; then
    # A run that has ended was another run, or this run before a correction.
    if [[ $words == running ]]; then
      start "$@" || fail "$name already trains something else (see above)"
    else
      put stop && start "$@" || return
    fi
    started=1
    return
  fi
  case $words in
    *failed*)
      words=$(sed -n 's/^failed //p' <<<"$words" | head -n 1)
      fail "the run failed with status $words: see launch/tpu_pod.sh logs $name" "$words"
      ;;
    *stopped*) say "stopped by launch/tpu_pod.sh stop"; exit 75 ;;
    done) say "the run is done; launch/tpu_pod.sh delete $name gives the pod back"; exit 0 ;;
    running | done$'\n'running) failures=0 ;;
    *)
      say "starting the run"
      put stop && start "$@"
      ;;
  esac
}

keep() {
  local now before=''
  failures=0 started=''
  while true; do
    now=$(look) || now=UNKNOWN
    [[ $now == "$before" ]] || say "$now"
    before=$now
    case $now in
      ACTIVE) attend "$@" || failures=$((failures + 1)) ;;
      ABSENT) request || failures=$((failures + 1)) ;;
      SUSPENDED | FAILED)
        [[ $now == SUSPENDED ]] || failures=$((failures + 1))
        say "taken away: giving back what is left, to ask for a new one"
        give_back || failures=$((failures + 1))
        ;;
    esac
    ((failures < MOST_FAILURES)) || fail "$failures failures in a row (see above): giving up" 1
    sleep "$poll"
  done
}

case $command in
  create) request; await ;;
  setup) pack; put idle ;;
  train)
    if [[ -z $watch ]]; then
      start "$@"
    elif [[ -z $dry ]]; then
      pack
      keep "$@"
    else
      echo '# where there is no pod:'; request; await
      echo '# where the run does not go on:'; pack; put stop; start "$@"
      echo "# every $poll seconds:"; describe; on all "$ask"
      echo '# where the pod has been taken away, before all over again:'; give_back
    fi
    ;;
  status) describe; on all "$ask" ;;
  logs) on 0 'tail -n 200 -F perceiver-train/log' ;;
  stop) on all "$worker stop" ;;
  delete)
    echo "deleting the pod $name in $zone, its workers and all that is on their disks" >&2
    give_back
    ;;
esac
