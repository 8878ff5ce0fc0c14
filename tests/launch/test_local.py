"""Several processes on this machine: each has its share, all are told to stop, and the worst end
counts."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / 'launch/local/run.sh'

# Stands in for the interpreter: what is no run of the program goes to the real one.
PYTHON = f"""#!{sys.executable}
import json, os, signal, subprocess, sys, time
if sys.argv[1:3] != ['-m', 'whyjax.main']:
  sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)
number = int(os.environ['JAX_PROCESS_ID'])
def stop(*_):
  time.sleep(0.3)
  sys.exit(143)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
line = {{'arguments': sys.argv[3:], 'number': number, 'cores': sorted(os.sched_getaffinity(0))}}
names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'CUDA_VISIBLE_DEVICES')
line |= {{name: os.environ.get(name) for name in names}}
with open(os.environ['RECORD'], 'a') as file:
  file.write(json.dumps(line) + chr(10))
time.sleep(float(os.environ.get('SECONDS', 0)))
code = int(os.environ.get('CODES', '0 0').split()[number])
os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)
"""

needs_two_cores = pytest.mark.skipif(
  len(os.sched_getaffinity(0)) < 2, reason='a core for each process'
)


@pytest.fixture(name='environment')
def _environment(tmp_path):
  (tmp_path / 'python').write_text(PYTHON)
  (tmp_path / 'python').chmod(0o755)
  (tmp_path / 'record').touch()
  own = {'PYTHON': str(tmp_path / 'python'), 'RECORD': str(tmp_path / 'record')}
  return os.environ | own | {'CUDA_VISIBLE_DEVICES': ''}


def call(environment, *arguments, **env):
  """What the script ended with, and what its processes saw, in their order."""
  ended = subprocess.run(
    [LOCAL, *arguments],
    env=environment | env,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  return ended, seen(environment)


def seen(environment) -> list[dict]:
  lines = Path(environment['RECORD']).read_text().splitlines()
  return sorted((json.loads(line) for line in lines), key=lambda line: line['number'])


@needs_two_cores
def test_each_process_has_its_number_its_cores_and_its_gpus(environment):
  arguments = ["--config.question=what's it to $YOU?", '--workdir=runs/a b']
  ended, lines = call(
    environment, '--processes=2', '--', *arguments, CUDA_VISIBLE_DEVICES='4,5,GPU-a,GPU-b'
  )
  assert ended.returncode == 0, ended.stderr
  assert [line['arguments'] for line in lines] == [arguments] * 2
  assert [line['number'] for line in lines] == [0, 1]
  assert [line['CUDA_VISIBLE_DEVICES'] for line in lines] == ['4,5', 'GPU-a,GPU-b']
  assert {line['JAX_NUM_PROCESSES'] for line in lines} == {'2'}
  (address,) = {line['JAX_COORDINATOR_ADDRESS'] for line in lines}
  assert address.startswith('127.0.0.1:')
  cores = [set(line['cores']) for line in lines]
  assert all(cores) and len(cores[0]) == len(cores[1]) and not cores[0] & cores[1]


@needs_two_cores
def test_a_dry_run_starts_nothing_and_prints_what_would_run(environment, tmp_path):
  arguments = ["--config.question=what's it?", '--workdir=runs/a b']
  dry, lines = call(environment, '--dry_run', '--', *arguments)
  assert dry.returncode == 0 and not lines
  subprocess.run(['bash', '-c', dry.stdout + 'wait'], cwd=ROOT, env=environment, check=True)
  printed = seen(environment)
  Path(environment['RECORD']).write_text('')
  _, ran = call(environment, '--', *arguments)
  for line in printed + ran:
    line.pop('JAX_COORDINATOR_ADDRESS')  # a port that is free at the time
  assert printed == ran and len(ran) == 2


@needs_two_cores
@pytest.mark.parametrize(
  'codes, worst',
  [
    ('0 0', 0),
    ('2 2', 2),
    ('143 143', 143),
    ('75 1', 1),  # the fault, not what it did to the other
    ('75 -9', 75),  # killed: the same command goes on
    ('-6 75', 75),
    ('0 -9', 137),
    ('0 3', 3),
  ],
)
def test_the_worst_end_counts(environment, codes, worst):
  ended, _ = call(environment, '--', '--config=a.py', CODES=codes)
  assert ended.returncode == worst


@needs_two_cores
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_makes_all_save_and_is_waited_for(environment, number):
  env = environment | {'SECONDS': '60'}

  def as_a_terminal_starts_it():
    signal.signal(number, signal.SIG_DFL)  # under nohup, or behind &, it would be ignored for good

  how = dict(env=env, start_new_session=True, preexec_fn=as_a_terminal_starts_it)
  with subprocess.Popen([LOCAL, '--', '--config=a.py'], **how) as script:
    deadline = time.monotonic() + 30
    while len(Path(environment['RECORD']).read_text().splitlines()) < 2:
      assert time.monotonic() < deadline
      time.sleep(0.05)
    os.killpg(script.pid, number)  # as a terminal does
    assert script.wait(timeout=30) == 143


@pytest.mark.parametrize(
  'arguments, env, line',
  [
    ((), {}, 'give -- and the arguments'),
    (('--',), {}, 'give -- and the arguments'),
    (('--config=a.py',), {}, '--config=a.py: unknown option'),
    (('--processes=0', '--', '--config=a.py'), {}, '--processes=0: must be 1 to'),
    (('--processes=x', '--', '--config=a.py'), {}, '--processes=x: must be 1 to'),
    (('--processes=9999', '--', '--config=a.py'), {}, '--processes=9999: must be 1 to'),
    (('--', '--config=a.py'), {'CUDA_VISIBLE_DEVICES': '0,1,2'}, 'must divide the 3 GPUs'),
  ],
)
def test_bad_input_is_one_line_and_starts_nothing(environment, arguments, env, line):
  ended, lines = call(environment, *arguments, **env)
  assert ended.returncode == 2 and not lines
  assert ended.stderr.count('\n') == 1 and line in ended.stderr
