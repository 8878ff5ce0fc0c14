"""The task for SkyPilot: its commands are run here, and SkyPilot reads it where it is installed."""

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest
import yaml

from whyjax.errors import UserError
from whyjax.sweep.local import RunsFailed
from whyjax.training import processes
from whyjax.training.interrupt import Preempted

ROOT = Path(__file__).parents[2]
FILE = ROOT / 'launch/sky/train.yaml'
SWEEP = ROOT / 'launch/sky/sweep.sh'
TASK = yaml.safe_load(FILE.read_text())
COMMAND = """#!{python}
import json, os, sys
names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
seen = {{name: os.environ[name] for name in names if name in os.environ}}
with open(os.environ['RECORD'], 'a') as file:
  file.write(json.dumps([os.path.basename(sys.argv[0]), seen, *sys.argv[1:]]) + chr(10))
sys.exit(int(os.environ.get(os.path.basename(sys.argv[0]).upper(), 0)))
"""
HARD = [
  '--config=tests/tiny.py',
  '--config.question=what\'s "it" to $YOU?\nNo',
  '--workdir=runs/a b',
]


@pytest.fixture(name='calls')
def _calls(tmp_path, monkeypatch):
  """Puts stand-ins on the PATH and in .venv; returns a function that reads what they were asked."""
  for name in (
    'bin/sky',
    'bin/mountpoint',
    'bin/sudo',
    'bin/python3',
    '.venv/bin/python',
    '.venv/bin/pip',
  ):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(COMMAND.format(python=sys.executable))
    (tmp_path / name).chmod(0o755)
  (tmp_path / 'record').touch()
  monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')
  monkeypatch.setenv('RECORD', str(tmp_path / 'record'))
  monkeypatch.setenv('PYTHON', sys.executable)
  return lambda: [json.loads(line) for line in (tmp_path / 'record').read_text().splitlines()]


def on_machine(part: str, folder: Path, **env) -> subprocess.CompletedProcess:
  """Runs a part of the task as a machine does."""
  alone = {'SKYPILOT_NUM_NODES': '1', 'SKYPILOT_NODE_RANK': '0', 'SKYPILOT_NODE_IPS': '10.0.0.1'}
  return subprocess.run(
    ['bash', '-c', TASK[part]], cwd=folder, env=os.environ | alone | env, check=False
  )


@pytest.mark.parametrize('code', [0, 75])
def test_the_program_has_its_arguments_and_the_last_word(calls, tmp_path, code):
  arguments = '--config=a.py:gpu "--config.question=what\'s it to \\$YOU?" --workdir=runs/a\\ b'
  ended = on_machine('run', tmp_path, ARGUMENTS=arguments, PYTHON=str(code))
  assert ended.returncode == code  # SkyPilot sees how the program ended
  expected = ['--config=a.py:gpu', "--config.question=what's it to $YOU?", '--workdir=runs/a b']
  assert calls()[-1] == ['python', {}, '-m', 'whyjax.main', *expected]


def test_several_machines_are_told_how_to_find_each_other(calls, tmp_path):
  env = {'SKYPILOT_NUM_NODES': '2', 'SKYPILOT_NODE_RANK': '1'}
  on_machine(
    'run', tmp_path, ARGUMENTS='--config=a.py', SKYPILOT_NODE_IPS='10.0.0.1\n10.0.0.2', **env
  )
  assert calls()[-1][1] == {
    'JAX_COORDINATOR_ADDRESS': '10.0.0.1:8476',
    'JAX_NUM_PROCESSES': '2',
    'JAX_PROCESS_ID': '1',
  }


def test_a_new_machine_mounts_the_disk_and_without_it_nothing_runs(calls, tmp_path):
  assert on_machine('setup', tmp_path, SHARE='server:/my share', MOUNTPOINT='1').returncode == 0
  mount = [
    'sudo',
    {},
    'mount',
    '-t',
    'nfs',
    '-o',
    'hard,lookupcache=positive',
    'server:/my share',
    'runs',
  ]
  assert mount in calls() and calls()[-1][0] == 'pip'
  ended = on_machine('run', tmp_path, ARGUMENTS='--config=a.py', MOUNTPOINT='1')
  assert ended.returncode == 2 and calls()[-1][0] == 'mountpoint'


def test_exit_codes_of_the_program_decide_what_starts_again():
  again = TASK['resources']['job_recovery']['recover_on_exit_codes']
  assert {Preempted('', 15).exit_code, processes.STUCK, 134} == set(again)
  assert not {UserError.exit_code, RunsFailed.exit_code} & set(again)
  assert 'max_restarts_on_errors' not in TASK['resources']['job_recovery']  # of all other codes


def test_nothing_runs_without_arguments_and_a_disk():
  assert TASK['envs'] == {'ARGUMENTS': None, 'SHARE': None}  # which SkyPilot then demands


def sweep(*arguments):
  return subprocess.run([SWEEP, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize('level, runs', [(0, [0]), (1, [1, 2, 3]), (2, [4])])
def test_a_level_is_a_job_for_each_of_its_runs(calls, tmp_path, level, runs):
  ended = sweep(f'--level={level}', '--infra', 'aws', '--env', 'SHARE=s:/a b', '--', *HARD)
  assert ended.returncode == 0, ended.stderr
  assert f'--level={level + 1}' in ended.stdout or level == 2
  launched = calls()
  for (name, _, *words), run in zip(launched, runs, strict=True):
    assert [name, *words[:3]] == ['sky', 'jobs', 'launch', 'launch/sky/train.yaml']
    assert words[-4:] == ['--infra', 'aws', '--env', 'SHARE=s:/a b']
    assert f'--name=whyjax-{run}' in words and '--detach-run' in words
    (arguments,) = (w.removeprefix('--env=ARGUMENTS=') for w in words if w.startswith('--env='))
    on_machine('run', tmp_path, ARGUMENTS=arguments)
    assert calls()[-1][2:] == ['-m', 'whyjax.main', *HARD, f'--run={run}']


def test_a_dry_run_launches_nothing_and_prints_what_would_be(calls):
  dry = sweep('--level=1', '--dry_run', '--', *HARD)
  assert dry.returncode == 0 and calls() == []
  subprocess.run(['bash', '-c', dry.stdout], check=True)
  printed = calls()
  sweep('--level=1', '--', *HARD)
  assert calls()[3:] == printed and len(printed) == 3


@pytest.mark.parametrize(
  'arguments, line',
  [
    (['--level=0'], 'give -- and the arguments'),
    (['--level=3', '--', '--config=tests/tiny.py'], '--level=3: must be 0 to 2'),
    (['--', '--config=tests/tiny.py'], '--level=: must be 0 to 2'),
    (['--level=0', '--', '--config=tests/tiny.py', '--workdir=x'], '--workdir=x: must be below'),
    (['--level=0', '--', '--config=tests/none.py'], 'no such file'),
  ],
)
def test_bad_input_is_one_line_and_launches_nothing(calls, arguments, line):
  ended = sweep(*arguments)
  assert ended.returncode == 2 and calls() == []
  assert line in ended.stderr and ended.stderr.count('\n') == 1


def test_skypilot_reads_the_task():
  sky = pytest.importorskip('sky')
  envs = [('ARGUMENTS', '--config=a.py'), ('SHARE', 'server:/')]
  task = sky.Task.from_yaml_config(yaml.safe_load(FILE.read_text()), env_overrides=envs)
  assert all(r.use_spot and r.job_recovery['recover_on_exit_codes'] for r in task.resources)
