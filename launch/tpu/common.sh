# shellcheck shell=bash disable=SC2034
# What run.sh and queue.sh share.

# shellcheck source=launch/common.sh
source launch/common.sh

NAME=${NAME:-whyjax}
ZONE=${ZONE:-us-west4-a}
ACCELERATOR=${ACCELERATOR:-v5litepod-8}
SHARE=${SHARE:-}
check_name

# Sets `runtime`, the system of the machines, and `hosts`, how many machines the slice has.
look_up_accelerator() {
  local kind=${ACCELERATOR%-*} size=${ACCELERATOR##*-}
  [[ $size =~ ^[1-9][0-9]{0,4}$ ]] || size=0
  hosts=0
  case $kind in
    v5litepod | v6e)  # a number of chips: up to eight on one host, else four on each
      runtime=v2-alpha-tpuv5-lite
      [[ $kind == v5litepod ]] || runtime=v2-alpha-tpuv6e
      case $size in
        1 | 4 | 8) hosts=1 ;;
        16 | 32 | 64 | 128 | 256) hosts=$(( size / 4 )) ;;
      esac ;;
    v2 | v3 | v4 | v5p)  # a number of cores, eight on each host
      runtime=tpu-ubuntu2204-base
      [[ $kind != v5p ]] || runtime=v2-alpha-tpuv5
      (( size % 8 )) || hosts=$(( size / 8 )) ;;
  esac
  (( hosts )) || fail "ACCELERATOR=$ACCELERATOR: must be v5litepod-N or v6e-N with N chips (1, 4, 8, 16 to 256)," \
    "or v2-N, v3-N, v4-N or v5p-N with N cores (a multiple of 8)"
}

# Refuses a program on several hosts whose workdir they would not share.
check_program() {
  (( $# )) || fail 'give the arguments of the program, such as --config=configs/principles.py:tpu'
  (( hosts == 1 )) || check_workdir /opt/whyjax "$@"
}

# Sets `work` to a directory for files that only the way to the cloud needs.
make_work() {
  if [[ -n $dry_run ]]; then
    work=/tmp/whyjax-$NAME
    try mkdir -p "$work"
  else
    work=$(mktemp -d)
    trap 'rm -r "$work"' EXIT
  fi
}

# Packs the code.
pack() {
  if [[ -n $dry_run ]]; then
    echo "launch/archive.sh | gzip > $work/whyjax.tar.gz"
  else
    launch/archive.sh | gzip > "$work/whyjax.tar.gz"
  fi
}

# Writes a text to a file, or prints the command that would.
write() {
  if [[ -n $dry_run ]]; then
    printf "cat > %q << 'END'\n%s\nEND\n" "$1" "$2"
  else
    printf '%s\n' "$2" > "$1"
  fi
}
