# shellcheck shell=bash disable=SC2034
# What the launchers share: how they refuse, how they print what they would do, and what they know of the program.

# Says what is wrong, after the name of the script, and ends it.
fail() {
  echo "${launcher:-${0##*/}}: $*" >&2
  exit 2
}

# Sets `dry_run`, and `words` to what is left of the command line.
read_options() {
  dry_run='' words=("$@")
  while [[ ${words[0]:-} == --* ]]; do
    [[ ${words[0]} == --dry_run ]] || fail "${words[0]}: unknown option; give --dry_run, or an action first"
    dry_run=1 words=("${words[@]:1}")
  done
}

# Runs its arguments as a command, or prints them.
try() {
  if [[ -n $dry_run ]]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

# Sets `python` to PYTHON, or the interpreter of .venv, or else that of the active environment.
find_python() {
  python=${PYTHON:-.venv/bin/python}
  ! command -v "$python" > /dev/null || return 0
  [[ -z ${PYTHON:-} ]] || fail "PYTHON=$PYTHON: must be an interpreter; there is none of that name"
  python=${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}
  [[ -n $python ]] || python=$(command -v python || command -v python3) || python=python
  "$python" -c 'import importlib.util; importlib.util.find_spec("jax") or exit(1)' 2> /dev/null ||
    fail "no .venv/bin/python in $PWD, and $python has no jax: install as README.md says, or set PYTHON"
}

# Refuses the value of the variable $1 unless it is a number, $2 or more.
check_number() {
  local value=${!1}
  if ! [[ $value =~ ^(0|[1-9][0-9]{0,4})$ ]] || (( value < $2 )); then
    fail "$1=$value: must be a number, $2 or more"
  fi
}

check_name() {
  [[ $NAME =~ ^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$ ]] ||
    fail "NAME=$NAME: must be up to 30 lower-case letters, digits and dashes"
}

# Refuses arguments of the program whose workdir is not below runs/ of the folder $1, where the disk is that lasts.
check_workdir() {
  local home=$1 workdir=runs/default path argument before=''
  for argument in "${@:2}"; do
    [[ ! $before =~ ^--?workdir$ ]] || workdir=$argument
    [[ ! $argument =~ ^--?workdir= ]] || workdir=${argument#*=}
    before=$argument
  done
  path=$workdir
  [[ $path == /* ]] || path=$home/$path
  [[ $(realpath --canonicalize-missing --no-symlinks "$path") == "$home/runs/"* ]] ||
    fail "--workdir=$workdir: must be below runs/, where the disk is that lasts and that all hosts share"
}
