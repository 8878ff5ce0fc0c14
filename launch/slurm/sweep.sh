#!/usr/bin/env bash
# Runs a study under Slurm, its stages side by side: one array job for each level of the study (pretraining, arms,
# later training), each after the one before, then a job that judges and reports. Submit from the repository:
#
#   launch/slurm/sweep.sh [--dry_run] [OPTIONS OF SBATCH] -- ARGUMENTS
#   launch/slurm/sweep.sh --gpus=1 --time=04:00:00 -- --config=configs/everything.py:gpu --workdir=runs/everything
#
# Every stage is a run of train.sbatch: it saves, requeues and goes on as said there. When a run fails, the levels after
# its own are cancelled; the same command submits what lacks a result. How far it is:
#
#   .venv/bin/python -m whyjax.main ARGUMENTS --action=status
#
#   --dry_run      print the commands that would submit the jobs
#   PYTHON         interpreter (default .venv/bin/python, or that of the active environment)
#   MAX_RUNNING    runs of an array at the same time (default 32)
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=launch/common.sh
source launch/common.sh

MAX_RUNNING=${MAX_RUNNING:-32}
check_number MAX_RUNNING 1

dry_run='' options=()
while (( $# )) && [[ $1 != -- ]]; do
  if [[ $1 == --dry_run ]]; then dry_run=1; else options+=("$1"); fi
  shift
done
(( $# > 1 )) || fail 'give -- and the arguments of the program, such as -- --config=configs/everything.py --workdir=runs/everything'
shift

workdir=''
for argument in "$@"; do
  [[ $argument == --workdir=* ]] && workdir=${argument#*=}
done
[[ -n $workdir ]] || fail 'give --workdir=DIR among the arguments: on a disk that all nodes share'

jobs=$workdir/logs/slurm  # of the last submission
if [[ -e $jobs ]]; then
  if ! queued=$(squeue --noheader --jobs="$(< "$jobs")" 2>&1); then
    # So it calls a job that ended long ago, where it is the only one.
    [[ $queued == *'Invalid job id'* ]] ||
      fail "squeue does not say whether jobs $(< "$jobs") are still queued: ${queued##*$'\n'}"
    queued=''
  fi
  [[ -z $queued ]] ||
    fail "jobs $(< "$jobs") of an earlier sweep of $workdir are still queued: wait for them, or scancel them"
fi

# Submits the program with these options, `after` the job before, or prints how.
submitted=() after=''
submit() {
  local words=("$@" "${options[@]}" launch/slurm/train.sbatch "${arguments[@]}")
  if [[ -n $dry_run ]]; then
    local name=JOB$(( ${#submitted[@]} + 1 ))
    printf "%s=\$(sbatch --parsable --kill-on-invalid-dep=yes%s" "$name" \
      "${after:+ --dependency=$after}"
    printf ' %q' "${words[@]}"
    echo ')'
    job="\${$name%%;*}"
  else
    job=$(sbatch --parsable --kill-on-invalid-dep=yes ${after:+--dependency="$after"} "${words[@]}") ||
      fail "sbatch has refused a job; queued before it: ${submitted[*]:-none};" \
        "scancel them, or wait for them, and the same command submits what lacks a result"
    job=${job%%;*}  # a federation adds the name of its cluster
  fi
  submitted+=("$job") after=afterok:$job
  # At once: the next may be refused, and this one is queued all the same.
  [[ -n $dry_run ]] || (IFS=,; echo "${submitted[*]}") > "$jobs"
}

arguments=("$@")
find_python
expand=("$python" -m whyjax.main "$@" --action=expand)
if [[ -n $dry_run ]]; then
  # Into a folder that is thrown away, which knows what has a result already.
  folder=$(mktemp -d)
  trap 'rm -r "$folder"' EXIT
  [[ ! -e $workdir/whyjax.json ]] || ln -s "$(realpath "$workdir")"/{whyjax.json,stages} "$folder"
  levels=$("${expand[@]}" --workdir="$folder")
  printf '%q ' "${expand[@]}"  # it makes the workdir
  echo
else
  levels=$("${expand[@]}")
fi
while read -r level runs; do
  [[ -n $level ]] || continue
  submit --job-name="whyjax-$level" --output="$workdir/logs/%a.log" --array="$runs%$MAX_RUNNING"
done <<< "$levels"
submit --job-name=whyjax-report --output="$workdir/logs/report.log"

if [[ -n $dry_run ]]; then
  (IFS=,; printf 'echo "%s" > %q\n' "${submitted[*]}" "$jobs")
else
  echo "jobs ${submitted[*]}: --action=status says how far they are"
fi
