"""Stands in for Google's cloud: a virtual machine is a directory, and its service a process.

`bin/NAME` calls this file as `cloud.py NAME ARGUMENTS`; every call is written down in $RECORD.
"""

import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

HOME = '/opt/whyjax'  # of the program on a real host
TOKEN = 'ya29.secret'
COMMANDS = (
  'gcloud', 'sudo', 'curl', 'systemctl', 'mountpoint', 'mount', 'mount.nfs', 'apt-get', 'python3',
)  # fmt: skip


def main(name: str, arguments: list[str]) -> int:
  """Does what one call of a command does; returns its exit code."""
  with open(os.environ['RECORD'], 'a') as file:
    file.write(json.dumps([name, *arguments]) + '\n')
  act = globals().get('_' + name.replace('.', '_').replace('-', '_'))
  return (act(*arguments) if act else 0) or 0


def put_on_path(folder: Path) -> None:
  """Writes the commands into a folder."""
  folder.mkdir(parents=True, exist_ok=True)
  for name in COMMANDS:
    _write_command(folder / name, name)


def on_host(host: Path, command: list[str]) -> int:
  """Runs a command as on a virtual machine."""
  (host / 'home').mkdir(parents=True, exist_ok=True)
  own = {'HOME': str(host / 'home'), 'VM': str(host), 'WHYJAX_HOME': f'{host}{HOME}'}
  return subprocess.run(command, cwd=host / 'home', env=os.environ | own).returncode


def hosts() -> list[Path]:
  """The machines of the slice."""
  return [Path(os.environ['CLOUD']) / f'vm{i}' for i in range(int(os.environ.get('HOSTS', '1')))]


def _write_command(path: Path, name: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
  path.chmod(0o755)


def _gcloud(*words):
  cloud = Path(os.environ['CLOUD'])
  if words[:2] == ('storage', 'cp'):
    path = cloud / 'bucket' / words[3].removeprefix('gs://')
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(words[2], path)
  options = dict(w[2:].split('=', 1) for w in words if w.startswith('--') and '=' in w)
  chosen = hosts() if options.get('worker') == 'all' else hosts()[:1]
  match words[2:4]:
    case ('tpu-vm', 'ssh'):
      codes = [
        on_host(host, ['bash', '-c', options['command'].replace(HOME, f'{host}{HOME}')])
        for host in chosen
      ]
      return max(codes, default=0)
    case ('tpu-vm', 'scp') if ':' not in words[4]:
      for host in chosen:
        (host / 'home').mkdir(parents=True, exist_ok=True)
        shutil.copy(words[4], host / 'home' / words[5].split(':')[1])
    case ('queued-resources', 'create'):
      shutil.copy(options['metadata-from-file'].removeprefix('startup-script='), cloud / 'boot.sh')
    case ('queued-resources', 'describe'):
      print(os.environ.get('QUEUE_STATE', ''))
      return 'QUEUE_STATE' not in os.environ


def _sudo(*words):
  os.execvp('env', ['env', *words])


def _curl(*words):
  (url,) = (word for word in words if word.startswith('http'))
  if url.startswith('http://metadata.google.internal/computeMetadata/v1/instance/'):
    assert 'Metadata-Flavor: Google' in words
    if url.endswith('/attributes/worker-network-endpoints'):
      print(','.join(f'10.0.0.{i}' for i in range(len(hosts()))))
    elif url.endswith('/service-accounts/default/token'):
      print(json.dumps({'access_token': TOKEN, 'expires_in': 3000, 'token_type': 'Bearer'}))
    else:
      return 22
  else:
    assert f'Authorization: Bearer {TOKEN}' in words
    source = url.removeprefix('https://storage.googleapis.com/')
    shutil.copy(Path(os.environ['CLOUD']) / 'bucket' / source, words[words.index('--output') + 1])


def _mountpoint(_, path):
  return not (Path(path) / '.mounted').exists()


def _mount(*words):
  (Path(words[-1]) / '.mounted').touch()


def _python3(*words):
  """Of the system: uv makes the environment of the program."""
  if words[:3] == ('-m', 'uv', 'venv'):
    for name in ('python', 'pip'):
      _write_command(Path(words[-1]) / 'bin' / name, name)


def _python(*words):
  """The program: saves when it gets SIGTERM, and else ends as the environment says."""

  def stop(*_):
    time.sleep(0.3)
    sys.exit(143)

  signal.signal(signal.SIGTERM, stop)
  names = ('JAX_COORDINATOR_PORT', 'VM')
  seen = {name: os.environ.get(name) for name in names} | {'cwd': os.getcwd()}
  with open(os.environ['RECORD'], 'a') as file:
    file.write(json.dumps(['program', seen, *words]) + '\n')
  print('step 1', flush=True)
  if '--action=status' not in words:
    time.sleep(float(os.environ.get('SECONDS', 0)))


def _systemctl(*words):
  """Of the unit the first command is taken, and where it writes."""
  pid = Path(os.environ['VM']) / 'pid'
  verb = next(word for word in words if not word.startswith('-'))
  if verb == 'is-active':
    return 0 if pid.exists() and alive(int(pid.read_text())) else 3
  if verb == 'link':
    shutil.copy(words[-1], pid.with_name('unit'))
  if verb == 'start':
    lines = pid.with_name('unit').read_text().replace(HOME, os.environ['WHYJAX_HOME']).splitlines()
    unit = dict(line.split('=', 1) for line in lines if '=' in line and not line.startswith('#'))
    with open(unit['StandardOutput'].removeprefix('append:'), 'a') as log:
      service = subprocess.Popen(
        unit['ExecStart'].split(),
        cwd=unit['WorkingDirectory'],
        env=os.environ | dict(v.split('=') for v in unit['Environment'].split()),
        stdout=log,
        stderr=log,
        start_new_session=True,
      )
    pid.write_text(str(service.pid))
  if verb == 'stop':
    os.kill(int(pid.read_text()), signal.SIGTERM)


def alive(pid: int) -> bool:
  """Whether a process runs."""
  try:
    return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
  except FileNotFoundError:
    return False


if __name__ == '__main__':
  sys.exit(main(sys.argv[1], sys.argv[2:]))
