#!/usr/bin/env bash
# Runs the stages of one level of a study side by side, each as a managed job of train.yaml on a machine of its own:
#
#   launch/sky/sweep.sh --level=N [--dry_run] [OPTIONS OF sky jobs launch] -- ARGUMENTS
#   launch/sky/sweep.sh --level=0 --infra aws/us-east-1 --env SHARE=SERVER:/ -- --config=configs/everything.py:gpu
#
# Jobs of SkyPilot do not wait for each other: call it with the next level when `sky jobs queue` shows that this one is
# done. A run that has a result ends at once. On one machine with several GPUs `--action=sweep --per_run=1` among the
# ARGUMENTS of train.yaml does all levels by itself.
#
#   --dry_run    print the commands instead of running them
#   PYTHON       interpreter (default .venv/bin/python, or that of the active environment)
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=launch/common.sh
source launch/common.sh

dry_run='' wanted='' options=()
while (( $# )) && [[ $1 != -- ]]; do
  case $1 in
    --dry_run) dry_run=1 ;;
    --level=*) wanted=${1#*=} ;;
    *) options+=("$1") ;;
  esac
  shift
done
(( $# > 1 )) || fail 'give -- and the arguments of the program, such as -- --config=configs/everything.py:gpu'
shift
check_workdir "$PWD" "$@"

# The levels come from a workdir that is thrown away: the real one is on a disk that only the machines see.
find_python
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
levels=$("$python" -m whyjax.main "$@" --workdir="$folder" --action=expand)
runs=$(awk -v level="$wanted" '$1 == level { print $2 }' <<< "$levels")
last=$(tail -n 1 <<< "$levels")
last=${last%% *}
[[ -n $runs ]] || fail "--level=$wanted: must be 0 to $last"

for part in ${runs//,/ }; do
  for run in $(seq "${part%-*}" "${part#*-}"); do
    printf -v arguments '%q ' "$@" "--run=$run"
    try sky jobs launch launch/sky/train.yaml --name="whyjax-$run" --env="ARGUMENTS=$arguments" --detach-run --yes \
      "${options[@]}"
  done
done
if (( wanted < last )); then
  echo "# when all are done: --level=$(( wanted + 1 ))"
else
  echo '# when all are done: train.yaml with the same ARGUMENTS judges and reports'
fi
