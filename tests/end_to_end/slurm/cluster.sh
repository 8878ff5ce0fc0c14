#!/usr/bin/env bash
# Slurm on this machine alone: a controller and three nodes, all that they write in one directory.
#
#   cluster.sh install         Debian's packages of Slurm
#   cluster.sh start DIR       returns when all nodes are idle; then: export SLURM_CONF=DIR/slurm.conf
#   cluster.sh kill DIR NODE   ends a node and all that runs there at once, as loss of power does
#   cluster.sh boot DIR NODE   starts it again
#   cluster.sh stop DIR        ends everything
#
# Needs root. A node is a set of namespaces: processes, a host name and /etc/hosts of its own, the file system of the
# machine. Where somebody's own Slurm runs, or has a config, it refuses. Exit code 2: it can't be had here; any other
# but 0: it could, and failed.
set -euo pipefail

NODES=(node1 node2 node3)  # at 127.0.0.11 and so on
START_SECONDS=60

fail() {
  echo "cluster.sh: $*" >&2
  exit 2
}

install_packages() {
  [[ ! -e /etc/slurm/slurm.conf ]] || fail '/etc/slurm/slurm.conf: this machine has a Slurm of its own'
  command -v apt-get > /dev/null || fail 'no apt-get here: needs Debian or Ubuntu'
  export DEBIAN_FRONTEND=noninteractive
  local options=(--quiet --quiet --option=Acquire::http::Timeout=20 --option=DPkg::Lock::Timeout=60)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install --yes --no-install-recommends munge slurmctld slurmd slurm-client > /dev/null
}

# Whether a process is there and not merely unburied: in a container nobody may bury what has lost its parent.
lives() {
  [[ -e /proc/$1 && $(sed --quiet 's/^State:\t//p' "/proc/$1/status" 2> /dev/null) != Z* ]]
}

check() {
  local program process
  (( EUID == 0 )) || fail "user $(id --user --name): must be root, who makes the nodes"
  for program in munged slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || fail "$program: not installed; try $0 install"
  done
  unshare --pid --uts --mount --mount-proc --fork bash -c 'hostname node && mount --bind /etc/hosts /etc/hosts' \
    2> /dev/null || fail 'no namespaces here: a container must be privileged'
  [[ ! -e /etc/slurm/slurm.conf ]] || fail '/etc/slurm/slurm.conf: this machine has a Slurm of its own'
  for process in /proc/[0-9]*; do
    if [[ $(cat "$process/comm" 2> /dev/null) == slurm@(ctld|d) ]] && lives "${process#/proc/}"; then
      fail "Slurm runs here already: process ${process#/proc/}, $(tr '\0' ' ' < "$process/cmdline")"
    fi
  done
}

# Ports that nobody has: of the controller and of each node.
free_ports() {
  python3 -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))
' $(( 1 + ${#NODES[@]} ))
}

# The time limits are short, so that a test sees in seconds what takes minutes by default.
write_config() {
  local ports number
  read -ra ports < <(free_ports)
  cat > "$dir/slurm.conf" << END
ClusterName=whyjax
SlurmctldHost=$(hostname --short)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=5,sched_min_interval=100000,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=5
SlurmdParameters=config_overrides
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=30
PartitionName=high Nodes=ALL PriorityTier=2
END
  echo "127.0.0.1 localhost $(hostname)" > "$dir/hosts"
  for number in "${!NODES[@]}"; do
    echo "NodeName=${NODES[number]} NodeAddr=127.0.0.$(( 11 + number )) Port=${ports[number + 1]} CPUs=2 RealMemory=2048"
    echo "127.0.0.$(( 11 + number )) ${NODES[number]}" >> "$dir/hosts"
  done >> "$dir/slurm.conf"
}

boot() {
  mkdir -p "$dir/spool/$1"
  # The first process of its namespace is a shell, because that is who buries what loses its parent.
  # shellcheck disable=SC2016
  setsid unshare --pid --uts --mount --mount-proc --fork --kill-child bash -c '
    hostname "$2"
    mount --bind "$1/hosts" /etc/hosts
    slurmd -D -f "$1/slurm.conf" &
    wait
  ' node "$dir" "$1" < /dev/null >> "$dir/$1.log" 2>&1 &
  echo $! > "$dir/$1.node"
}

# Ends a process by the file that says its number, and waits until it is gone.
end() {
  local process
  [[ -s $2 ]] || return 0
  process=$(< "$2")
  kill "-$1" "$process" 2> /dev/null || true
  while lives "$process"; do sleep 0.05; done
  rm -f "$2"
}

start() {
  check
  mkdir -p "$dir/state"
  write_config
  head --bytes=128 /dev/urandom > "$dir/munge.key"
  chmod 600 "$dir/munge.key"
  munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --seed-file="$dir/munge.seed" --log-file="$dir/munged.log"
  export SLURM_CONF=$dir/slurm.conf
  slurmctld
  local node states
  for node in "${NODES[@]}"; do boot "$node"; done
  while states=$(sinfo --noheader --partition=low --format='%T %D' 2>&1); [[ $states != "idle ${#NODES[@]}" ]]; do
    if (( SECONDS >= START_SECONDS )); then
      echo "cluster.sh: not all nodes came in $START_SECONDS s: $states" >&2
      exit 1
    fi
    sleep 0.2
  done
}

stop() {
  local node
  for node in "${NODES[@]}"; do end KILL "$dir/$node.node"; done
  end TERM "$dir/slurmctld.pid"
  end TERM "$dir/munged.pid"
}

action=${1:-}
dir=${2:-}
case $action:$# in
  install:1) install_packages ;;
  start:2) dir=$(realpath "$dir") && start ;;
  stop:2) dir=$(realpath "$dir") && stop ;;
  boot:3) dir=$(realpath "$dir") && boot "$3" ;;
  kill:3) dir=$(realpath "$dir") && end KILL "$dir/$3.node" ;;
  *) fail 'usage: cluster.sh install | start DIR | kill DIR NODE | boot DIR NODE | stop DIR' ;;
esac
