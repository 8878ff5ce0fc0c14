"""The scripts for Cloud TPU slices, run against a stand-in for the cloud (cloud.py)."""

import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import time

import pytest

from tests.launch import cloud

ROOT = Path(__file__).parents[2]
TPU = ROOT / 'launch/tpu'
SEVERAL = {'ACCELERATOR': 'v5litepod-16', 'HOSTS': '4', 'SHARE': '10.0.0.2:/my share'}
QUEUE = {'BUCKET': 'gs://bucket/folder'}
HARD = [
  '--config=configs/smoke.py:tpu',
  '--config.question=what\'s "it" to $YOU, $(date)?\nNo more * than `that`',
  '--workdir=runs/a b',
]


@pytest.fixture(name='calls')
def _calls(tmp_path, monkeypatch):
  """Puts the cloud on the PATH; returns a function that reads what was asked of it."""
  cloud.put_on_path(tmp_path / 'bin')
  (tmp_path / 'record').touch()
  monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')
  monkeypatch.setenv('RECORD', str(tmp_path / 'record'))
  monkeypatch.setenv('CLOUD', str(tmp_path))
  yield lambda: [json.loads(line) for line in (tmp_path / 'record').read_text().splitlines()]
  for pid in tmp_path.glob('vm*/pid'):
    if cloud.alive(int(pid.read_text())):
      os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture(name='checkout')
def _checkout(tmp_path) -> Path:
  """A small repository that holds the scripts, two more tracked files, one of them deleted, and one
  untracked."""
  shutil.copytree(TPU, tmp_path / 'repository/launch/tpu')
  for name in ('common.sh', 'archive.sh'):
    shutil.copy(TPU.parent / name, tmp_path / 'repository/launch')
  for name in ('tracked.py', 'deleted.py'):
    (tmp_path / 'repository' / name).touch()
  commit = '-c user.name=n -c user.email=e commit --quiet --message=m'
  for command in ('init --quiet', 'add .', commit):
    subprocess.run(['git', *command.split()], cwd=tmp_path / 'repository', check=True)
  (tmp_path / 'repository/deleted.py').unlink()
  (tmp_path / 'repository/untracked.py').touch()
  return tmp_path / 'repository/launch/tpu'


def call(script, *arguments, **env):
  return subprocess.run(
    [script, *arguments],
    env=os.environ | env,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )


def programs(calls, count: int = 1) -> list[list]:
  """What the programs saw that were started, without their name, once there are so many."""
  deadline = time.monotonic() + 30
  while len(found := [c[1:] for c in calls() if c[0] == 'program']) < count:
    assert time.monotonic() < deadline, f'{len(found)} of {count} programs were started'
    time.sleep(0.05)
  return found


@pytest.mark.parametrize(
  'script, action, env',
  [
    ('run.sh', ['create'], {}),
    ('run.sh', ['push'], SEVERAL),
    ('run.sh', ['run', *HARD], SEVERAL),
    ('run.sh', ['status'], {}),
    ('run.sh', ['logs'], {}),
    ('run.sh', ['stop'], {}),
    ('run.sh', ['fetch'], {}),
    ('run.sh', ['delete'], {}),
    ('queue.sh', ['create', *HARD], SEVERAL | QUEUE),
    ('queue.sh', ['status'], {}),
    ('queue.sh', ['delete'], {}),
  ],
)
def test_a_dry_run_runs_nothing_and_prints_what_would_run(calls, checkout, script, action, env):
  env = env | {'NAME': 'n', 'ZONE': 'z', 'HOSTS': '0'}  # what is on the hosts is not the question
  dry = call(checkout / script, '--dry_run', *action, **env)
  assert dry.returncode == 0, dry.stderr
  assert calls() == []
  subprocess.run(
    ['bash', '-c', dry.stdout], cwd=checkout.parents[1], env=os.environ | env, check=False
  )
  printed = calls()
  call(checkout / script, *action, **env)
  ran = calls()[len(printed) :]
  if script == 'queue.sh' and action[0] == 'create':
    assert 'describe' in ran.pop(0)  # is it in the queue already? A dry run does not ask
  folder = re.compile(r'/tmp/[\w.-]+/')  # of a random name
  assert [[folder.sub('', w) for w in c] for c in printed] == [
    [folder.sub('', w) for w in c] for c in ran
  ]
  assert printed and all('--zone=z' in command for command in printed if command[1] == 'compute')


@pytest.mark.parametrize(
  'accelerator, runtime',
  [
    ('v5litepod-8', 'v2-alpha-tpuv5-lite'),
    ('v5litepod-256', 'v2-alpha-tpuv5-lite'),
    ('v6e-16', 'v2-alpha-tpuv6e'),
    ('v5p-64', 'v2-alpha-tpuv5'),
    ('v4-8', 'tpu-ubuntu2204-base'),
  ],
)
def test_a_slice_gets_the_system_of_its_accelerator(calls, accelerator, runtime):
  assert call(TPU / 'run.sh', 'create', ACCELERATOR=accelerator, SPOT='1').returncode == 0
  assert calls()[0][4:] == [
    'create',
    'whyjax',
    f'--accelerator-type={accelerator}',
    f'--version={runtime}',
    '--spot',
    '--zone=us-west4-a',
  ]


@pytest.mark.parametrize(
  'script, action, env, line',
  [
    *[
      ('run.sh', ['create'], {'ACCELERATOR': a}, f'ACCELERATOR={a}: must be')
      for a in ('v5litepod-12', 'v4-12', 'v5p-0', 'v6e', 'h100-8', 'v4-08')
    ],
    ('run.sh', ['create'], {'NAME': '../x'}, 'NAME=../x: must be'),
    ('run.sh', ['run'], {}, 'give the arguments of the program'),
    ('run.sh', ['start'], {}, 'give one of'),
    ('run.sh', [], {}, 'give one of'),
    ('run.sh', ['push', 'now'], {}, 'push: takes no arguments'),
    ('run.sh', ['--dry-run', 'push'], {}, '--dry-run: unknown option'),
    ('run.sh', ['push'], {'ACCELERATOR': 'v4-16'}, 'v4-16 has 2 hosts: set SHARE'),
    *[
      ('run.sh', ['run', *words], SEVERAL, f'--workdir={workdir}: must be')
      for words, workdir in (
        (['--workdir=/tmp/x'], '/tmp/x'),
        (['--workdir', 'x'], 'x'),
        (['--workdir=runs/a', '-workdir=runs/../x'], 'runs/../x'),
      )
    ],
    ('queue.sh', ['create', '--config=a.py'], {}, 'BUCKET=: must be gs://NAME'),
    ('queue.sh', ['create', '--config=a.py'], QUEUE | {'SPOT': '1'}, 'SHARE: must be'),
    ('queue.sh', ['create', '--config=a.py'], QUEUE | {'ACCELERATOR': 'v4-32'}, 'SHARE: must be'),
    ('queue.sh', ['create'], QUEUE, 'give the arguments of the program'),
    ('queue.sh', ['create', '--workdir=x'], QUEUE | SEVERAL, '--workdir=x: must be below runs/'),
    ('queue.sh', ['push'], {}, 'give one of'),
  ],
)  # fmt: skip
def test_what_cannot_run_is_refused_in_one_line(calls, script, action, env, line):
  run = call(TPU / script, *action, **env)
  assert run.returncode == 2
  assert line in run.stderr and run.stderr.count('\n') == 1
  assert calls() == []


def test_push_brings_tracked_files_to_all_hosts_and_keeps_results(calls, checkout, tmp_path):
  homes = [Path(f'{tmp_path}/vm{i}{cloud.HOME}') for i in range(4)]
  for home in homes:
    (home / 'runs').mkdir(parents=True)
    (home / 'runs/results.jsonl').touch()
    (home / 'stale.py').touch()
  push = call(checkout / 'run.sh', 'push', **SEVERAL)
  assert push.returncode == 0, push.stderr
  for home in homes:
    assert {p.name for p in home.iterdir()} == {'COMMIT', 'runs', '.venv', 'launch', 'tracked.py'}
    assert (home / 'runs/results.jsonl').exists()
  installed = ['pip', 'install', '--quiet', '-r', 'requirements.txt', 'jax[tpu]']
  assert calls().count(installed) == 4
  mounts = [c for c in calls() if c[0] == 'mount']
  assert (
    mounts
    == [['mount', '-t', 'nfs', '-o', 'hard,lookupcache=positive', SEVERAL['SHARE'], 'runs']] * 4
  )


def test_a_run_starts_on_all_hosts_with_its_arguments_and_outlives_the_connection(
  calls, checkout, tmp_path
):
  call(checkout / 'run.sh', 'push', **SEVERAL)
  run = call(checkout / 'run.sh', 'run', *HARD, SECONDS='60', **SEVERAL)
  assert run.returncode == 0, run.stderr
  started = programs(calls, 4)
  assert {seen['VM'] for seen, *_ in started} == {str(tmp_path / f'vm{i}') for i in range(4)}
  for seen, *arguments in started:
    assert arguments == ['-m', 'whyjax.main', *HARD]
    assert seen['JAX_COORDINATOR_PORT'] == '8476' and seen['cwd'] == seen['VM'] + cloud.HOME
  assert Path(f'{tmp_path}/vm0{cloud.HOME}/run.log').read_text() == 'step 1\n'
  pids = [int(p.read_text()) for p in tmp_path.glob('vm*/pid')]
  assert len(pids) == 4 and all(map(cloud.alive, pids))

  for action in (['run', *HARD], ['push']):  # neither under the feet of a program that runs
    again = call(checkout / 'run.sh', *action, **SEVERAL)
    assert again.returncode != 0 and 'runs already' in again.stderr
  assert len(programs(calls)) == 4

  status = call(checkout / 'run.sh', 'status', **SEVERAL)
  assert status.returncode == 0, status.stderr
  seen, *arguments = programs(calls, 5)[-1]
  assert arguments == ['-m', 'whyjax.main', *HARD, '--action=status']
  assert seen['VM'].endswith('vm0')

  call(checkout / 'run.sh', 'stop', **SEVERAL)
  deadline = time.monotonic() + 30
  while any(map(cloud.alive, pids)):
    assert time.monotonic() < deadline
    time.sleep(0.05)
  assert call(checkout / 'run.sh', 'run', *HARD, **SEVERAL).returncode == 0
  programs(calls, 9)


def test_a_host_that_has_no_shared_disk_starts_nothing(calls, checkout):
  """Whoever forgets that the slice has several hosts is told so by the hosts."""
  forgetful = {'HOSTS': '2'}
  assert call(checkout / 'run.sh', 'push', **forgetful).returncode == 0
  run = call(checkout / 'run.sh', 'run', *HARD, **forgetful)
  assert run.returncode == 2 and 'runs/: must be a disk that all hosts share' in run.stderr
  assert not [c for c in calls() if c[0] == 'program']


def test_a_host_knows_that_the_workdir_is_not_on_the_shared_disk(calls, checkout):
  call(checkout / 'run.sh', 'push', **SEVERAL)
  run = call(checkout / 'run.sh', 'run', '--config=a.py', '--workdir=/tmp/x', HOSTS='4')
  assert run.returncode == 2 and '--workdir=/tmp/x: must be below runs/' in run.stderr
  assert not [c for c in calls() if c[0] == 'program']


def test_one_host_needs_no_shared_disk(calls, checkout):
  call(checkout / 'run.sh', 'push')
  assert call(checkout / 'run.sh', 'run', '--config=a.py', '--workdir=/data/x').returncode == 0
  ((_, *arguments),) = programs(calls)
  assert arguments == ['-m', 'whyjax.main', '--config=a.py', '--workdir=/data/x']
  assert not [c for c in calls() if c[0] == 'mount']


def test_a_queued_slice_installs_and_starts_the_program_at_every_boot(
  calls, checkout, tmp_path, monkeypatch
):
  env = SEVERAL | QUEUE | {'SPOT': '1'}
  create = call(checkout / 'queue.sh', 'create', *HARD, **env)
  assert create.returncode == 0, create.stderr
  assert calls()[-1][4:-1] == [
    'create',
    'whyjax',
    '--node-id=whyjax',
    '--accelerator-type=v5litepod-16',
    '--runtime-version=v2-alpha-tpuv5-lite',
    next(w for w in calls()[-1] if w.startswith('--metadata-from-file=startup-script=')),
    '--spot',
  ]
  host = tmp_path / 'vm2'
  monkeypatch.setenv('HOSTS', '4')
  for boot in (1, 2):
    assert cloud.on_host(host, ['bash', str(tmp_path / 'boot.sh')]) == 0
    seen, *arguments = programs(calls, boot)[-1]
    assert arguments == ['-m', 'whyjax.main', *HARD]
    assert seen['VM'] == str(host)
  assert ['mount', '-t', 'nfs', '-o', 'hard,lookupcache=positive', SEVERAL['SHARE'], 'runs'] in (
    calls()
  )
  assert (host / f'.{cloud.HOME}/tracked.py').exists()


@pytest.mark.parametrize(
  'state, queued',
  [('SUSPENDED', True), ('FAILED', True), ('ACTIVE', False), ('PROVISIONING', False)],
)
def test_only_a_request_that_is_over_is_queued_anew(calls, state, queued):
  create = call(TPU / 'queue.sh', 'create', '--config=a.py', QUEUE_STATE=state, **QUEUE)
  verbs = [c[4] for c in calls() if c[3:4] == ['queued-resources']]
  if queued:
    assert create.returncode == 0 and verbs == ['describe', 'delete', 'create']
  else:
    assert create.returncode == 2 and verbs == ['describe']
    assert f'whyjax: is {state} in the queue already' in create.stderr


def test_systemd_tries_again_what_can_go_on_and_leaves_time_to_save():
  lines = (TPU / 'whyjax.service').read_text().splitlines()
  unit = dict(line.split('=', 1) for line in lines if '=' in line and not line.startswith('#'))
  assert unit['Restart'] == 'on-failure'
  assert unit['RestartPreventExitStatus'].split() == ['1', '2']
  assert int(unit['TimeoutStopSec']) >= 60 and int(unit['StartLimitBurst']) <= 100


@pytest.mark.skipif(shutil.which('systemd-analyze') is None, reason='no systemd here')
def test_systemd_reads_the_unit():
  unit = subprocess.run(
    ['systemd-analyze', 'verify', TPU / 'whyjax.service'], capture_output=True, text=True
  )
  assert unit.returncode == 0 and not unit.stderr
