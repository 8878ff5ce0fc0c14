#!/usr/bin/env bash
# Runs a study on one Cloud TPU VM: the same command as anywhere else, in the background of the VM.
#
#   launch/tpu/run.sh create            the VM (spot with SPOT=1)
#   launch/tpu/run.sh push              files under version control, as they are here, and the environment
#   launch/tpu/run.sh run ARGUMENTS     python -m whyjax.main ARGUMENTS; the same once more = resume
#   launch/tpu/run.sh logs              follow what it prints
#   launch/tpu/run.sh fetch             copy the workdirs of the VM into runs/NAME/ here
#   launch/tpu/run.sh delete            the VM and everything on it
#
# Environment:
#   NAME         of the VM (default whyjax)
#   ZONE         (default us-west4-a)
#   ACCELERATOR  one host only: v5litepod-1|4|8 (default v5litepod-8), v6e-1|4|8, v2-8, v3-8, v4-8, v5p-8
#   DRY_RUN=1    print the commands instead of running them
#
# The project and the account are those of gcloud's own configuration.
set -euo pipefail

NAME=${NAME:-whyjax}
ZONE=${ZONE:-us-west4-a}
ACCELERATOR=${ACCELERATOR:-v5litepod-8}

fail() {
  echo "run.sh: $*" >&2
  exit 2
}

# A program on one host of a slice of several waits for the others for ever, without a word.
case $ACCELERATOR in
  v5litepod-[148]) runtime=v2-alpha-tpuv5-lite ;;
  v6e-[148]) runtime=v2-alpha-tpuv6e ;;
  v5p-8) runtime=v2-alpha-tpuv5 ;;
  v2-8 | v3-8 | v4-8) runtime=tpu-ubuntu2204-base ;;
  *) fail "ACCELERATOR=$ACCELERATOR: must have one host: v5litepod-1|4|8, v6e-1|4|8, v2|3|4-8, v5p-8" ;;
esac

# Runs its arguments as a command, or prints them.
try() {
  if [[ -n ${DRY_RUN:-} ]]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

tpu() {
  try gcloud compute tpus tpu-vm "$@" --zone="$ZONE"
}

on_vm() {
  tpu ssh "$NAME" --worker=all --command="$1"
}

create() {
  tpu create "$NAME" --accelerator-type="$ACCELERATOR" --version="$runtime" ${SPOT:+--spot}
}

push() {
  archive=$(mktemp --suffix=.tar.gz)
  trap 'rm "$archive"' EXIT
  git ls-files -z | tar --create --gzip --null --files-from=- --file="$archive"
  tpu scp "$archive" "$NAME:whyjax.tar.gz" --worker=all
  # What an earlier push left goes, results stay. The VM's own Python is too old; uv brings a newer one.
  on_vm 'set -e; mkdir -p whyjax; cd whyjax
    find . -mindepth 1 -maxdepth 1 ! -name runs ! -name run.log ! -name .venv -exec rm -r {} +
    tar xzf ../whyjax.tar.gz
    python3 -m pip install --quiet --user uv
    python3 -m uv venv --quiet --seed --allow-existing --python 3.12 .venv
    .venv/bin/pip install --quiet -r requirements.txt "jax[tpu]"'
}

run() {
  (( $# )) || fail 'run: give the arguments of the program, such as --config=configs/principles.py:tpu'
  # In a session of its own, so that it outlives this connection; the workdir's lock keeps a second one out.
  local arguments
  printf -v arguments '%q ' "$@"
  on_vm "cd whyjax &&
    { setsid nohup .venv/bin/python -m whyjax.main $arguments >> run.log 2>&1 < /dev/null & }"
}

logs() {
  on_vm 'tail -n 100 -f whyjax/run.log'
}

fetch() {
  try mkdir -p "runs/$NAME"
  tpu scp --recurse "$NAME:whyjax/runs/*" "runs/$NAME" --worker=0
}

delete() {
  tpu delete "$NAME"  # gcloud asks first
}

cd "$(dirname "$0")/../.."
case ${1:-} in
  run) run "${@:2}" ;;
  create | push | logs | fetch | delete)
    (( $# == 1 )) || fail "$1: takes no arguments"
    "$1" ;;
  *) fail "give one of: create, push, run, logs, fetch, delete" ;;
esac
