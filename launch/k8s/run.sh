#!/usr/bin/env bash
# Runs a study on Kubernetes: on one or several hosts as one JobSet, or its stages side by side as one Indexed Job for
# each level, each after the one before. JobSet 0.9 and Kubernetes 1.31 or later.
#
#   launch/k8s/run.sh [--dry_run] build               IMAGE, of the files under version control as they are here
#   launch/k8s/run.sh [--dry_run] create ARGUMENTS    python -m whyjax.main ARGUMENTS; the same once more = resume
#   launch/k8s/run.sh [--dry_run] sweep ARGUMENTS     the same, stages side by side, one host for each
#   launch/k8s/run.sh [--dry_run] status              of the JobSet, its jobs and pods
#   launch/k8s/run.sh [--dry_run] status ARGUMENTS    of the study's stages: --action=status beside the volume
#   launch/k8s/run.sh [--dry_run] logs                follow what they print
#   launch/k8s/run.sh [--dry_run] fetch               copy the workdirs into runs/NAME/ here
#   launch/k8s/run.sh [--dry_run] delete              the programs save and end; the volume stays
#
#   --dry_run      print the YAML and the commands instead of running them
#
# Environment:
#   NAME           of the JobSet (default whyjax)
#   IMAGE          that `build` made, such as REGISTRY/whyjax:1
#   CLAIM          ReadWriteMany volume that becomes runs/ (default whyjax; volume.yaml makes it)
#   TPU            KIND:TOPOLOGY of a slice on GKE, such as v5e:4x4 (v4, v5e, v5p, v6e)
#   GPUS, HOSTS    NVIDIA GPUs of each host, and hosts (default 0, 1; of TPU its own); without TPU and GPUS: 4 cores
#   NODES          labels that nodes must have, KEY=VALUE,..., such as cloud.google.com/gke-spot=true
#   QUEUE          Kueue's local queue, if it shares out the cluster
#   MAX_RESTARTS   after a lost process or a stuck step (default 20); preemptions are not counted
#   MAX_RUNNING    runs of a level at the same time (default 32)
#   PYTHON         interpreter that expands a sweep (default .venv/bin/python, or that of the active environment)
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=launch/common.sh
source launch/common.sh

NAME=${NAME:-whyjax} IMAGE=${IMAGE:-} CLAIM=${CLAIM:-whyjax} GPUS=${GPUS:-0}
check_name

# Its arguments as a list in JSON, which YAML is, too. Kubernetes reads $$ as a dollar and $(NAME) as a variable.
list() {
  python3 -c 'import json, sys
print(json.dumps([word.replace("$", "$$") for word in sys.argv[1:]], ensure_ascii=False))' "$@"
}

# KEY=VALUE,... as a mapping in JSON.
mapping() {
  python3 -c 'import json, sys
print(json.dumps(dict(word.split("=", 1) for word in sys.argv[1].split(",") if word)))' "$1"
}

# The template in a file, with NAME=VALUE of the further arguments filled in for {{NAME}}.
fill() {
  local text pair
  text=$(grep -v '^#' "launch/k8s/$1")
  for pair in "${@:2}"; do
    text=${text//"{{${pair%%=*}}}"/"${pair#*=}"}
  done
  printf '%s\n' "$text"
}

# Sets what a host of the program is: HOSTS of them, `nodes`, `resources`, `environment`, `annotations`.
look_up_hosts() {
  check_number GPUS 0
  [[ ${NODES:-a=b} =~ ^[^=,]+=[^=,]*(,[^=,]+=[^=,]*)*$ ]] || fail "NODES=$NODES: must be KEY=VALUE,..."
  nodes=${NODES:-} environment='[]' annotations='{}'
  if [[ -n ${TPU:-} ]]; then
    look_up_slice
  elif (( GPUS )); then
    resources="{limits: {nvidia.com/gpu: $GPUS}}"
  else
    resources='{requests: {cpu: 4, memory: 8Gi}}'
  fi
  HOSTS=${HOSTS:-1}
  check_number HOSTS 1
  # A TPU slice says by itself who is in it.
  if [[ -z ${TPU:-} ]] && (( HOSTS > 1 )); then
    environment="[{name: JAX_COORDINATOR_ADDRESS, value: '$NAME-hosts-0-0.$NAME:8476'},
                {name: JAX_NUM_PROCESSES, value: '$HOSTS'}, {name: JAX_PROCESS_ID, valueFrom: {fieldRef: {fieldPath:
                \"metadata.annotations['batch.kubernetes.io/job-completion-index']\"}}}]"
  fi
  nodes=$(mapping "$nodes")
}

# Refuses a slice that GKE does not have.
check_slice() {
  local kind=${TPU%%:*} topology=${TPU#*:} a b c
  local flat='1x1|2x2|2x4|4x4|4x8|8x8|8x16|16x16' small='2x2x1|2x2x2|2x2x4|2x4x4'
  local four='(4|8|12|16|20|24)'
  case $kind in
    v5e | v6e)
      [[ $topology =~ ^($flat)$ ]] || fail "TPU=$TPU: must be $kind: and one of ${flat//|/, }" ;;
    v4 | v5p)
      IFS=x read -r a b c <<< "$topology"
      if [[ ! $topology =~ ^($small)$ ]] &&
        { [[ ! $topology =~ ^${four}x${four}x$four$ ]] || (( a > b || b > c )); }; then
        fail "TPU=$TPU: must be $kind: and one of ${small//|/, }, or multiples of 4 up to 24," \
          "none above the next, such as 4x4x8"
      fi ;;
    *) fail "TPU=$TPU: must be KIND:TOPOLOGY, such as v5e:4x4, v6e:2x4, v4:2x2x2 or v5p:2x2x4" ;;
  esac
  (( GPUS == 0 )) || fail "GPUS=$GPUS: must be 0 with TPU=$TPU, whose hosts have none"
}

look_up_slice() {
  local kind=${TPU%%:*} topology=${TPU#*:} given=${HOSTS:-} chips slice
  check_slice
  chips=$(( ${topology//x/*} ))
  HOSTS=$(( (chips + 3) / 4 ))
  case $kind in
    v4) slice=tpu-v4-podslice ;;
    v5p) slice=tpu-v5p-slice ;;
    v5e) slice=tpu-v5-lite-podslice ;;
    v6e) slice=tpu-v6e-slice ;;
  esac
  [[ $TPU != v[56]e:2x4 ]] || HOSTS=1  # the machine with eight chips
  [[ -z $given || $given == "$HOSTS" ]] || fail "HOSTS=$given: must be $HOSTS with TPU=$TPU; leave it out"
  nodes+=${nodes:+,}cloud.google.com/gke-tpu-accelerator=$slice,cloud.google.com/gke-tpu-topology=$topology
  resources="{limits: {google.com/tpu: $(( chips / HOSTS ))}}"
  (( HOSTS == 1 )) || annotations='{alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool}'
}

# Adds a job to `jobs`. $1 is its name, $2 that of the job before, $3 how many pods it has, $4 its limit, $5 what a fault
# does to it; then the command, --, the arguments.
jobs=''
add_job() {
  local after='[]' words=("${@:6}") command=() running=$3
  while [[ ${words[0]} != -- ]]; do
    command+=("${words[0]}") words=("${words[@]:1}")
  done
  [[ -z $2 ]] || after="[{name: $2, status: Complete}]"
  [[ $1 != level-* ]] || (( running <= MAX_RUNNING )) || running=$MAX_RUNNING
  jobs+=$(fill job.yaml JOB="$1" AFTER="$after" COMPLETIONS="$3" PARALLELISM="$running" LIMIT="$4" FAULT="$5" \
    IMAGE="$IMAGE" CLAIM="$CLAIM" NODES="$nodes" RESOURCES="$resources" ENVIRONMENT="$environment" \
    COMMAND="$(list "${command[@]}")" ARGUMENTS="$(list "${words[@]:1}")")$'\n'
}

# Creates what is described on the standard input, or prints how.
submit() {
  if [[ -n $dry_run ]]; then
    printf "kubectl create --filename=- << 'END'\n%s\nEND\n" "$(cat)"
  else
    kubectl create --filename=-
  fi
}

# Creates the JobSet of `jobs`, in the place of one that is over; kubectl refuses where one is not.
create_jobset() {
  local over='' head
  if [[ -z $dry_run ]]; then
    over=$(kubectl get jobset "$NAME" --ignore-not-found --output='jsonpath={.status.terminalState}')
  fi
  [[ -z $over ]] || kubectl delete jobset "$NAME"
  head=$(fill jobset.yaml NAME="$NAME" ANNOTATIONS="$annotations" MAX_RESTARTS="$1" \
    LABELS="$(mapping "${QUEUE:+kueue.x-k8s.io/queue-name=$QUEUE}")")
  submit <<< "$head"$'\n'"${jobs%$'\n'}"
}

check_program() {
  (( $# )) || fail 'give the arguments of the program, such as --config=configs/principles.py:tpu'
  [[ $IMAGE =~ ^[^[:space:]]+$ ]] || fail "IMAGE=$IMAGE: must be a name, such as REGISTRY/whyjax:1; build makes it"
  check_workdir /whyjax "$@"
  look_up_hosts
}

create() {
  check_program "$@"
  MAX_RESTARTS=${MAX_RESTARTS:-20}
  check_number MAX_RESTARTS 0
  add_job hosts '' "$HOSTS" 'backoffLimit: 0' FailJob python -m whyjax.main -- "$@"
  create_jobset "$MAX_RESTARTS"
}

# The levels come from a workdir that is thrown away: a run that has a result already ends at once.
sweep() {
  local levels level runs part numbers after=''
  check_program "$@"
  MAX_RUNNING=${MAX_RUNNING:-32}
  check_number MAX_RUNNING 1
  (( HOSTS == 1 )) || fail "${TPU:+TPU=$TPU, }HOSTS=$HOSTS: must be 1 in a sweep, each run on one host"
  find_python
  folder=$(mktemp -d)
  trap 'rm -r "$folder"' EXIT
  levels=$("$python" -m whyjax.main "$@" --workdir="$folder" --action=expand)
  while read -r level runs; do
    numbers=()
    for part in ${runs//,/ }; do
      mapfile -t -O "${#numbers[@]}" numbers < <(seq "${part%-*}" "${part#*-}")
    done
    # shellcheck disable=SC2016  # the pod expands it
    add_job "level-$level" "$after" "${#numbers[@]}" 'backoffLimitPerIndex: 10' FailIndex bash -c \
      "runs=(${numbers[*]})"' && exec python -m whyjax.main "$@" --action=run --run="${runs[JOB_COMPLETION_INDEX]}"' \
      whyjax -- "$@"
    after=level-$level
  done <<< "$levels"
  add_job report "$after" 1 'backoffLimit: 10' FailJob python -m whyjax.main -- "$@"
  create_jobset 0
}

build() {
  local extra=''
  [[ -n $IMAGE ]] || fail 'IMAGE: must be a name, such as REGISTRY/whyjax:1'
  look_up_hosts
  (( GPUS == 0 )) || extra=cuda13
  [[ -z ${TPU:-} ]] || extra=tpu
  try bash -c "set -o pipefail; launch/archive.sh |
    docker build --file=launch/k8s/Dockerfile --build-arg=EXTRA=$extra --tag=$(printf %q "$IMAGE") -"
  try docker push "$IMAGE"
}

# Starts a pod of this name that sees the volume.
start_reader() {
  [[ -n $IMAGE ]] || fail 'IMAGE: must be a name, such as REGISTRY/whyjax:1'
  try kubectl delete pod "$1" --ignore-not-found  # of a call that was interrupted
  fill reader.yaml POD="$1" IMAGE="$IMAGE" CLAIM="$CLAIM" | submit
  try kubectl wait --for=condition=Ready --timeout=10m "pod/$1"
}

status() {
  local pod=$NAME-status code=0  # not that of a fetch, which may go on
  if (( $# == 0 )); then
    try kubectl get jobset "$NAME"
    try kubectl get jobs,pods --selector="jobset.sigs.k8s.io/jobset-name=$NAME"
    return
  fi
  check_workdir /whyjax "$@"
  start_reader "$pod"
  try kubectl exec "$pod" -- python -m whyjax.main "$@" --action=status || code=$?
  try kubectl delete pod "$pod"
  return "$code"
}

logs() {
  try kubectl logs --selector="jobset.sigs.k8s.io/jobset-name=$NAME" --prefix --follow --tail=100 --max-log-requests=100
}

fetch() {
  start_reader "$NAME-reader"
  try mkdir -p "runs/$NAME"
  try kubectl cp --retries=10 "$NAME-reader:/whyjax/runs" "runs/$NAME"
  try kubectl delete pod "$NAME-reader"
}

delete() {
  try kubectl delete jobset "$NAME"
}

read_options "$@"
set -- "${words[@]}"
case ${1:-} in
  create | sweep | status) "$1" "${@:2}" ;;
  build | logs | fetch | delete)
    (( $# == 1 )) || fail "$1: takes no arguments"
    "$1" ;;
  *) fail 'give one of: build, create, sweep, status, logs, fetch, delete' ;;
esac
