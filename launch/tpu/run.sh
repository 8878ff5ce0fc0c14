#!/usr/bin/env bash
# Runs a study on a Cloud TPU slice of one or several hosts: the same command as anywhere else, on all hosts at once.
#
#   launch/tpu/run.sh [--dry_run] create           the slice (spot with SPOT=1)
#   launch/tpu/run.sh [--dry_run] push             files under version control, as they are here, and the environment
#   launch/tpu/run.sh [--dry_run] run ARGUMENTS    python -m whyjax.main ARGUMENTS; the same once more = resume
#   launch/tpu/run.sh [--dry_run] status           of the slice, of the program on each host, and of the study
#   launch/tpu/run.sh [--dry_run] logs             follow what it prints
#   launch/tpu/run.sh [--dry_run] stop             the program saves and ends
#   launch/tpu/run.sh [--dry_run] fetch            copy the workdirs into runs/NAME/ here
#   launch/tpu/run.sh [--dry_run] delete           the slice and everything on its own disks
#
#   --dry_run    print the commands instead of running them
#
# Environment:
#   NAME         of the slice (default whyjax)
#   ZONE         (default us-west4-a)
#   ACCELERATOR  v5litepod-N and v6e-N with N chips, v2|v3|v4|v5p-N with N cores (default v5litepod-8)
#   SHARE        SERVER:/EXPORT, an NFS disk for runs/; a slice of several hosts must have one
#
# The project and the account are those of gcloud's own configuration. Long and spot runs: queue.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=launch/tpu/common.sh
source launch/tpu/common.sh

tpu() {
  try gcloud compute tpus tpu-vm "$@" --zone="$ZONE"
}

# On all hosts: a program on one of several waits for the others for ever, without a word.
on_hosts() {
  tpu ssh "$NAME" --worker=all --command="$1"
}

create() {
  tpu create "$NAME" --accelerator-type="$ACCELERATOR" --version="$runtime" ${SPOT:+--spot}
}

push() {
  local share
  (( hosts == 1 )) || [[ -n $SHARE ]] || fail "ACCELERATOR=$ACCELERATOR has $hosts hosts: set SHARE=SERVER:/EXPORT"
  printf -v share '%q' "$SHARE"
  make_work
  pack
  tpu scp "$work/whyjax.tar.gz" "$NAME:whyjax.tar.gz" --worker=all
  on_hosts "tar xzf whyjax.tar.gz launch && sudo SHARE=$share bash launch/tpu/host.sh install ~/whyjax.tar.gz"
}

run() {
  local arguments
  check_program "$@"
  printf -v arguments ' %q' "$@"
  on_hosts "sudo bash /opt/whyjax/launch/tpu/host.sh start$arguments"
}

status() {
  tpu describe "$NAME" --format='value(state,health)'
  on_hosts 'systemctl show whyjax --property=ActiveState,ExecMainStatus,NRestarts | paste --serial --delimiters=" "
    tail -n 1 /opt/whyjax/run.log'
  tpu ssh "$NAME" --worker=0 --command='sudo bash /opt/whyjax/command --action=status'
}

logs() {
  on_hosts 'tail -n 100 -f /opt/whyjax/run.log'
}

stop() {
  on_hosts 'sudo systemctl stop whyjax'
}

fetch() {
  try mkdir -p "runs/$NAME"
  tpu scp --recurse "$NAME:/opt/whyjax/runs/*" "runs/$NAME" --worker=0
}

delete() {
  tpu delete "$NAME"  # gcloud asks first
}

read_options "$@"
set -- "${words[@]}"
look_up_accelerator
case ${1:-} in
  run) run "${@:2}" ;;
  create | push | status | logs | stop | fetch | delete)
    (( $# == 1 )) || fail "$1: takes no arguments"
    "$1" ;;
  *) fail 'give one of: create, push, run, status, logs, stop, fetch, delete' ;;
esac
