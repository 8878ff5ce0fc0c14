#!/usr/bin/env bash
# What happens on one host of a TPU slice, as root; run.sh and the startup script of queue.sh call it on all.
#
#   host.sh install ARCHIVE    the code, its environment, and with SHARE=SERVER:/EXPORT the shared disk on runs/
#   host.sh start ARGUMENTS    python -m whyjax.main ARGUMENTS, as a service that systemd keeps (whyjax.service)
set -euo pipefail

# shellcheck source=launch/common.sh
source "$(dirname "$0")/../common.sh"
home=${WHYJAX_HOME:-/opt/whyjax}

not_running() {
  ! systemctl --quiet is-active whyjax || fail 'the program runs already: stop it first'
}

install() {
  not_running
  mkdir -p "$home/runs"
  cd "$home"
  [[ -z ${SHARE:-} ]] || share
  # What an earlier push left goes, results stay.
  find . -mindepth 1 -maxdepth 1 ! -name runs ! -name run.log ! -name .venv -exec rm -r {} +
  tar xzf "$1"
  python3 -m pip install --quiet --user uv  # the system's own Python is too old
  python3 -m uv venv --quiet --seed --allow-existing --python 3.12 .venv
  .venv/bin/pip install --quiet -r requirements.txt "jax[tpu]"
  systemctl link --quiet --force "$home/launch/tpu/whyjax.service"
  systemctl daemon-reload
}

# The disk of all hosts. NFS has locks and renames that hold between machines; a bucket mounted as a disk has not.
share() {
  ! mountpoint --quiet runs || return 0
  if ! command -v mount.nfs > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    apt-get install --quiet --yes -o DPkg::Lock::Timeout=300 nfs-common
  fi
  # What one host has just written the others must not go on taking for absent.
  mount -t nfs -o hard,lookupcache=positive "$SHARE" runs
}

start() {
  local hosts=http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints
  hosts=$(curl --silent --show-error --fail --header 'Metadata-Flavor: Google' "$hosts")
  cd "$home"
  if [[ $hosts == *,* ]]; then
    mountpoint --quiet runs || fail 'runs/: must be a disk that all hosts share; set SHARE=SERVER:/EXPORT and push again'
    check_workdir "$home" "$@"
  fi
  not_running
  {
    printf 'cd %q && exec .venv/bin/python -m whyjax.main' "$home"
    printf ' %q' "$@"
    echo ' "$@"'
  } > "$home/command"
  systemctl reset-failed whyjax 2> /dev/null || true  # a new start has all its tries
  systemctl start whyjax
}

"$@"
