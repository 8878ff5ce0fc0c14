"""Which interpreter the scripts take where there is no .venv: that of the active environment."""

import json
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ['--config=a.py', '--workdir=runs/a']
SCRIPTS = {
  'local/run.sh': ['--processes=1', '--', *PROGRAM],
  'slurm/train.sbatch': PROGRAM,
  'slurm/sweep.sh': ['--', *PROGRAM],
  'k8s/run.sh': ['sweep', *PROGRAM],
  'sky/sweep.sh': ['--level=0', '--', *PROGRAM],
}
# Of the program it says that a study has one run; what else it is asked goes to the real one.
PYTHON = f"""#!{sys.executable}
import json, os, sys
if sys.argv[1:3] != ['-m', 'whyjax.main']:
  os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
with open(os.environ['RECORD'], 'a') as file:
  file.write(json.dumps([sys.argv[0], *sys.argv[3:5]]) + chr(10))
os.makedirs('runs/a/logs', exist_ok=True)
print('0 0')
"""
STAND_INS = {'srun': 'shift; exec "$@"', 'sbatch': 'echo 1'} | dict.fromkeys(
  ('squeue', 'kubectl', 'sky'), 'true'
)


@pytest.fixture(name='environment')
def _environment(tmp_path):
  """No interpreter is named, and the first on the PATH is not the one that runs the tests."""
  shutil.copytree(ROOT / 'launch', tmp_path / 'repository/launch')
  for name, does in STAND_INS.items():
    write(tmp_path / 'bin' / name, f'#!/bin/bash\n{does}\n')
  names = ('PYTHON', 'VIRTUAL_ENV', 'CUDA_VISIBLE_DEVICES')
  kept = {k: v for k, v in os.environ.items() if k not in names and not k.startswith('SLURM_')}
  return kept | {
    'PATH': f'{tmp_path / "bin"}:{os.environ["PATH"]}',
    'RECORD': str(tmp_path / 'record'),
    'IMAGE': 'image',
    'CUDA_VISIBLE_DEVICES': '',
  }


def write(path: Path, text: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)


def call(tmp_path, script, environment):
  repository = tmp_path / 'repository'
  return subprocess.run(
    [repository / 'launch' / script, *SCRIPTS[script]],
    cwd=repository,
    env=environment,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )


@pytest.mark.parametrize('script', SCRIPTS)
@pytest.mark.parametrize('place', ['bin', 'active/bin', 'repository/.venv/bin'])
def test_the_active_environment_is_taken_where_there_is_no_other(
  environment, tmp_path, script, place
):
  """There is always one on the PATH: VIRTUAL_ENV comes before it, and .venv before both."""
  write(tmp_path / 'bin/python', PYTHON)
  write(tmp_path / place / 'python', PYTHON)
  if place != 'bin':
    environment |= {'VIRTUAL_ENV': str(tmp_path / 'active')}
  ended = call(tmp_path, script, environment)
  assert ended.returncode == 0, ended.stderr
  (line,) = (tmp_path / 'record').read_text().splitlines()
  interpreter, *arguments = json.loads(line)
  assert (tmp_path / 'repository' / interpreter) == tmp_path / place / 'python'
  assert arguments[0] == PROGRAM[0]


@pytest.mark.parametrize('script', SCRIPTS)
@pytest.mark.parametrize('env, line', [({}, 'has no jax: install'), ({'PYTHON': 'x'}, 'PYTHON=x:')])
def test_without_an_interpreter_one_line_says_so(environment, tmp_path, script, env, line):
  write(tmp_path / 'bin/python', '#!/bin/sh\nexit 1\n')
  ended = call(tmp_path, script, environment | env)
  assert ended.returncode == 2 and line in ended.stderr and ended.stderr.count('\n') == 1
