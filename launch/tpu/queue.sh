#!/usr/bin/env bash
# Runs a study on a Cloud TPU slice that is waited for in Google's queue: the way for long and for spot runs. A startup
# script installs and starts the program again after every boot of a host: same command + same workdir = resume.
#
#   launch/tpu/queue.sh [--dry_run] create ARGUMENTS    queue a slice that runs python -m whyjax.main ARGUMENTS
#   launch/tpu/queue.sh [--dry_run] status              of the request; run.sh status says more once it is ACTIVE
#   launch/tpu/queue.sh [--dry_run] delete              the request and its slice
#
# Google deletes a spot slice that it takes back, and its request is SUSPENDED then: the same `create` queues it anew,
# and the program goes on from its last checkpoint. While it runs, run.sh status, logs, stop and fetch work as ever.
#
# Options and environment are those of run.sh, and
#   BUCKET       gs://NAME[/FOLDER], where the hosts get the code from
#   SHARE        is needed for several hosts and for spot: the disks of a slice go with it
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=launch/tpu/common.sh
source launch/tpu/common.sh

queue() {
  try gcloud compute tpus queued-resources "$@" --zone="$ZONE"
}

create() {
  local script state=''
  check_program "$@"
  [[ ${BUCKET:-} == gs://?* ]] || fail "BUCKET=${BUCKET:-}: must be gs://NAME, where the hosts get the code from"
  if [[ -z $SHARE ]] && { (( hosts > 1 )) || [[ -n ${SPOT:-} ]]; }; then
    fail 'SHARE: must be SERVER:/EXPORT for several hosts, and for spot, whose disks go with them'
  fi
  if [[ -z $dry_run ]]; then
    state=$(queue describe "$NAME" --format='value(state.state)' 2> /dev/null) || true
  fi
  case $state in
    '') ;;
    SUSPENDED | FAILED) queue delete "$NAME" --force --quiet ;;
    *) fail "$NAME: is $state in the queue already" ;;
  esac
  make_work
  pack
  try gcloud storage cp "$work/whyjax.tar.gz" "$BUCKET/$NAME.tar.gz"
  printf -v script ' %q' "$BUCKET/$NAME.tar.gz" "$@"
  printf -v script '#!/bin/bash\nset --%s\nexport SHARE=%q\n%s' "$script" "$SHARE" "$(< launch/tpu/startup.sh)"
  write "$work/startup.sh" "$script"
  queue create "$NAME" --node-id="$NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$runtime" \
    --metadata-from-file="startup-script=$work/startup.sh" ${SPOT:+--spot}
}

read_options "$@"
set -- "${words[@]}"
look_up_accelerator
case ${1:-} in
  create) create "${@:2}" ;;
  status | delete)
    (( $# == 1 )) || fail "$1: takes no arguments"
    if [[ $1 == delete ]]; then
      queue delete "$NAME" --force  # gcloud asks first
    else
      queue describe "$NAME" --format='value(state.state)'
    fi ;;
  *) fail 'give one of: create, status, delete' ;;
esac
