"""The job script for Slurm, run here against stand-ins that record what they are asked."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

ROOT = Path(__file__).parents[2]
SLURM = ROOT / 'launch/slurm/train.sbatch'

RECORD = """#!PYTHON
import json, os, signal, subprocess, sys, time
name = os.path.basename(sys.argv[0])
with open(os.environ['RECORD'], 'a') as file:
  file.write(json.dumps([name, *sys.argv[1:]]) + '\\n')
"""

# A step is a process group for each of CODES, the ends of its processes. Slurm signals all in it,
# and tells the highest code.
SRUN = """
with open(os.environ['RECORD'] + '.cpus', 'w') as file:
  file.write(os.environ.get('SRUN_CPUS_PER_TASK', ''))
codes = os.environ.get('CODES', '0').split()
ranks = [
  subprocess.Popen(
    sys.argv[2:], env=os.environ | {'SLURM_PROCID': str(rank)}, start_new_session=True
  )
  for rank in range(len(codes))
]
groups = os.environ['RECORD'] + '.groups'
with open(groups + '.part', 'w') as file:
  file.write(' '.join(str(rank.pid) for rank in ranks))
os.rename(groups + '.part', groups)
ends = [rank.wait() for rank in ranks]
sys.exit(max(code if code >= 0 else 128 - code for code in ends))
"""
STAND_INS = {
  'srun': SRUN,
  'squeue': "print(os.environ.get('JOB_STATE', 'RUNNING'))",
  'scancel': """
for group in open(os.environ['RECORD'] + '.groups').read().split():
  os.killpg(int(group), signal.SIGTERM)
""",
  'scontrol': '',
}

# Saves when it gets SIGTERM, and else ends as the environment says.
PROGRAM = """
def stop(*_):
  time.sleep(0.3)
  open(os.environ['RECORD'] + '.saved', 'w').close()
  sys.exit(143)
signal.signal(signal.SIGTERM, stop)
open(os.environ['RECORD'] + '.started', 'w').close()
time.sleep(float(os.environ.get('SECONDS', 0)))
code = int(os.environ.get('CODES', '0').split()[int(os.environ['SLURM_PROCID'])])
os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)
"""


@pytest.fixture(name='calls')
def _calls(tmp_path, monkeypatch):
  """Puts the stand-ins first on the PATH; returns a function that reads what they recorded."""
  for name, does in STAND_INS.items():
    _write_program(tmp_path / 'bin' / name, does)
  _write_program(tmp_path / 'python', PROGRAM)
  (tmp_path / 'record').touch()
  monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')
  monkeypatch.setenv('RECORD', str(tmp_path / 'record'))
  monkeypatch.setenv('PYTHON', str(tmp_path / 'python'))
  monkeypatch.setenv('SLURM_JOB_ID', '7')
  monkeypatch.setenv('SLURM_SUBMIT_DIR', str(ROOT))
  return lambda: [json.loads(line) for line in (tmp_path / 'record').read_text().splitlines()]


def _write_program(path: Path, does: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(RECORD.replace('PYTHON', sys.executable, 1) + does)
  path.chmod(0o755)


def _run(script, *arguments, **env):
  return subprocess.run(
    [script, *arguments],
    env=os.environ | env,
    capture_output=True,
    text=True,
    timeout=40,
    check=False,
  )


def test_a_slurm_job_runs_one_step_and_passes_the_arguments_on(calls):
  arguments = ['--config=configs/principles.py:gpu', '--workdir=runs/a b']
  assert _run(SLURM, *arguments).returncode == 0
  srun, program = calls()
  assert srun[:2] == ['srun', '--kill-on-bad-exit=1']
  assert program == ['python', '-m', 'whyjax.main', *arguments]


@pytest.mark.parametrize('cpus', ['16', ''])
def test_a_step_has_the_cpus_of_its_job(calls, tmp_path, cpus):
  """Since Slurm 22.05 srun does not ask for as many by itself."""
  assert _run(SLURM, '--config=a.py', SLURM_CPUS_PER_TASK=cpus).returncode == 0
  assert (tmp_path / 'record.cpus').read_text() == cpus


@pytest.mark.parametrize(
  'code, env, requeued',
  [
    (143, {}, True),
    (75, {}, True),
    (134, {}, True),
    (137, {}, False),  # killed for its memory, say
    (75, {'SLURM_RESTART_COUNT': '100'}, False),
    (143, {'SLURM_RESTART_COUNT': '99'}, True),
    (143, {'SLURM_RESTART_COUNT': '100'}, False),
    (143, {'JOB_STATE': 'COMPLETING'}, False),  # its user has cancelled it
    (2, {}, False),
    (1, {}, False),
  ],
)
def test_only_a_job_that_can_go_on_is_requeued(calls, code, env, requeued):
  assert _run(SLURM, '--config=a.py', CODES=str(code), **env).returncode == code
  assert (['scontrol', 'requeue', '7'] in calls()) == requeued


@pytest.mark.parametrize(
  'codes, told',
  [
    ('75 -9', 75),  # killed: the job goes on
    ('143 143', 143),
    ('75 1', 1),  # the fault, not what it did to the other
    ('2 -6', 2),
    ('2 -9', 2),
    ('1 2', 2),
  ],
)
def test_of_several_processes_a_fault_is_told_and_else_the_job_goes_on(calls, codes, told):
  env = {'SLURM_NTASKS': '2', 'SLURM_NNODES': '2', 'CODES': codes}
  assert _run(SLURM, '--config=a.py', **env).returncode == told
  assert (['scontrol', 'requeue', '7'] in calls()) == (told > 2)


def test_a_task_of_an_array_requeues_itself_alone(calls):
  """The last task has the number of the whole array as its job's."""
  env = {'SLURM_ARRAY_JOB_ID': '7', 'SLURM_ARRAY_TASK_ID': '3'}
  assert _run(SLURM, '--config=a.py', CODES='143', **env).returncode == 143
  assert ['scontrol', 'requeue', '7_3'] in calls()


def test_a_signal_to_the_batch_shell_reaches_the_program_and_waits_for_it_to_save(calls, tmp_path):
  with subprocess.Popen([SLURM, '--config=a.py'], env=os.environ | {'SECONDS': '60'}) as job:
    _wait_until((tmp_path / 'record.started').exists)
    _wait_until((tmp_path / 'record.groups').exists)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == 143
  assert (tmp_path / 'record.saved').exists()
  assert [call for call in calls() if call[0] in ('scancel', 'scontrol')] == [
    ['scancel', '--signal=TERM', '7.0'],
    ['scontrol', 'requeue', '7'],
  ]


@pytest.mark.parametrize(
  'env, line',
  [
    ({'SLURM_NTASKS': '4', 'SLURM_NNODES': '2'}, 'SLURM_NTASKS=4: must be 2'),
    ({'MAX_REQUEUES': 'x'}, 'MAX_REQUEUES=x: must be a number, 0 or more'),
    ({'PYTHON': '/none/python'}, 'PYTHON=/none/python: must be an interpreter'),
    ({'SLURM_SUBMIT_DIR': '/'}, '/: must be the repository'),
  ],
)
def test_what_cannot_run_is_refused_in_one_line_before_anything_runs(calls, env, line):
  run = _run(SLURM, '--config=a.py', **env)
  assert run.returncode == 2 and calls() == []
  assert run.stderr.startswith('train.sbatch: ' + line) and run.stderr.count('\n') == 1


def test_a_task_on_each_of_several_nodes_is_one_step(calls):
  assert _run(SLURM, '--config=a.py', SLURM_NTASKS='4', SLURM_NNODES='4').returncode == 0
  assert [name for name, *_ in calls()] == ['srun', 'python']


def _wait_until(condition, seconds: float = 30) -> None:
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, 'waited in vain'
    time.sleep(0.05)
