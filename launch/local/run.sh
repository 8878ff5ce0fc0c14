#!/usr/bin/env bash
# Runs a study as several processes on this machine, each with its share of the cores and GPUs; together they do what
# one process does. It shows what several machines would do, before they cost anything.
#
#   launch/local/run.sh [--processes=N] [--dry_run] -- ARGUMENTS
#   launch/local/run.sh --processes=2 -- --config=configs/smoke.py --workdir=runs/smoke
#
# SIGTERM and Ctrl-C go to all processes, which save and end. The exit code is the worst of theirs: a fault that will
# not mend by itself (2, 1) before one that the same command goes on from (75, 134, 143, 130).
#
#   --processes=N           (default 2)
#   --dry_run               print the commands instead of running them
#   CUDA_VISIBLE_DEVICES    the GPUs to divide (default: all of them; empty: none)
#   PYTHON                  interpreter (default .venv/bin/python, or that of the active environment)
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=launch/common.sh
source launch/common.sh

processes=2 dry_run=''
while (( $# )) && [[ $1 != -- ]]; do
  case $1 in
    --processes=*) processes=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    *) fail "$1: unknown option; give --processes=N or --dry_run, then -- and the arguments of the program" ;;
  esac
  shift
done
(( $# > 1 )) || fail 'give -- and the arguments of the program, such as -- --config=configs/smoke.py'
shift

find_python
# A free port, then the cores that this process may use.
found=$("$python" -c 'import os, socket
with socket.socket() as free:
  free.bind(("127.0.0.1", 0))
  print(free.getsockname()[1], *sorted(os.sched_getaffinity(0)))')
read -r port found <<< "$found"
read -ra cores <<< "$found"
if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
  IFS=, read -ra gpus <<< "$CUDA_VISIBLE_DEVICES"
elif command -v nvidia-smi > /dev/null; then
  mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
else
  gpus=()
fi
if ! [[ $processes =~ ^[1-9][0-9]{0,3}$ ]] || (( processes > ${#cores[@]} )); then
  fail "--processes=$processes: must be 1 to ${#cores[@]}, the cores of this machine"
fi
(( ${#gpus[@]} % processes == 0 )) ||
  fail "--processes=$processes: must divide the ${#gpus[@]} GPUs; CUDA_VISIBLE_DEVICES chooses others, or none"

# Part INDEX of as many as there are processes, of the words that follow; joined by commas.
part() {
  local size=$(( ($# - 1) / processes )) IFS=,
  echo "${*:2 + $1 * size:size}"
}

started=() signalled=''
# The sessions of their own keep Ctrl-C from the processes: they would end without saving.
trap 'signalled=1; kill "${started[@]}" 2>/dev/null || true' TERM INT HUP
for (( index = 0; index < processes; index++ )); do
  command=(env "JAX_COORDINATOR_ADDRESS=127.0.0.1:$port" "JAX_NUM_PROCESSES=$processes" "JAX_PROCESS_ID=$index")
  (( ${#gpus[@]} == 0 )) || command+=("CUDA_VISIBLE_DEVICES=$(part "$index" "${gpus[@]}")")
  command+=(setsid taskset --cpu-list "$(part "$index" "${cores[@]}")" "$python" -m whyjax.main "$@")
  if [[ -n $dry_run ]]; then
    printf '%q ' "${command[@]}"
    echo '&'
  else
    "${command[@]}" &
    started+=("$!")
  fi
done

[[ -z $signalled ]] || kill "${started[@]}" 2>/dev/null || true  # it came before all were started

ended=' ' worst=0
for process in "${started[@]}"; do
  while true; do
    code=0 signalled=''
    wait "$process" || code=$?
    [[ -n $signalled ]] || break  # else the trap has interrupted wait
  done
  ended+="$code "
  (( code <= worst )) || worst=$code
done
for code in 2 1 75 134 143 130; do
  [[ $ended != *" $code "* ]] || exit "$code"
done
exit "$worst"
