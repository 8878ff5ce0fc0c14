"""Several processes on loopback: together they do what one does, and however they end, the same
command finishes their work."""

from collections.abc import Callable
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests import outcome

TINY = Path(__file__).parent.parent / 'tiny.py'
DIALS = [
  '--config.arms=("reason",)',
  '--config.later_arms=()',
  '--config.later=()',
  '--config.claims=()',
  '--config.evals.batteries=("agentic-tools", "facts", "controls")',
  '--config.pretrain.updates=400',  # long enough for a busy machine to pass a signal on
  '--config.pretrain.checkpoint_every=20',
  '--config.device.steps_per_dispatch=1',
  '--config.device.compile_cache=',
]
DEVICES = 4  # of all processes together: then the mesh is one, and results are equal to the bit


def start(count: int, workdir: Path, *arguments: str) -> list[subprocess.Popen]:
  """`count` processes that work on one study."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  command = [sys.executable, '-m', 'whyjax.main', f'--config={TINY}', f'--workdir={workdir}']
  command += [*DIALS, f'--config.device.host_devices={DEVICES // count}', *arguments]
  started = []
  for index in range(count):
    env = {k: v for k, v in os.environ.items() if not k.startswith(('SLURM_', 'OMPI_', 'XLA_'))}
    env['TF_CPP_MIN_LOG_LEVEL'] = '2'
    if count > 1:
      env |= {'JAX_COORDINATOR_ADDRESS': address, 'JAX_NUM_PROCESSES': str(count)}
      env['JAX_PROCESS_ID'] = str(index)
    started.append(
      subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    )
  return started


def end(started: list[subprocess.Popen], seconds: float = 240) -> tuple[list[int], list[str]]:
  """Exit codes, and what each process said on stderr."""
  said = [process.communicate(timeout=seconds)[1] for process in started]
  return [process.returncode for process in started], said


def wait_for(what: str, holds: Callable[[], object], seconds: float = 180) -> None:
  deadline = time.monotonic() + seconds
  while not holds():
    assert time.monotonic() < deadline, f'{what}: did not come'
    time.sleep(0.1)


def under_way(workdir: Path) -> None:
  """Waits until pretraining has a checkpoint."""
  wait_for('a checkpoint', lambda: outcome.begun(workdir, 'pretrain'))


@pytest.fixture(scope='module')
def alone(tmp_path_factory) -> list[dict]:
  workdir = tmp_path_factory.mktemp('alone')
  codes, said = end(start(1, workdir))
  assert codes == [0], said
  return outcome.records(workdir, device=False)


def test_two_processes_equal_one(alone, tmp_path):
  codes, said = end(start(2, tmp_path))
  assert codes == [0, 0], said
  assert outcome.records(tmp_path, device=False) == alone
  assert all('waits for 2 processes' in text for text in said)
  again = start(2, tmp_path)  # nothing is left to do
  assert end(again)[0] == [0, 0]


def test_sigterm_to_one_process_saves_and_ends_all(alone, tmp_path):
  started = start(2, tmp_path)
  under_way(tmp_path)
  started[0].send_signal(signal.SIGTERM)
  codes, said = end(started, 60)
  assert codes == [143, 143], said
  assert 'stopped and saved at update' in said[0] and 'stopped' not in said[1]
  codes, said = end(start(1, tmp_path))  # on one process what two have begun
  assert codes == [0], said
  assert outcome.records(tmp_path, device=False) == alone


def test_sigterm_ends_an_evaluation(tmp_path):
  """To all processes, as Slurm sends it; in the last stage, after which nothing else would ask."""
  dials = ['--config.pretrain.updates=20', '--config.evals.samples=40']
  started = start(2, tmp_path, *dials)
  wait_for('the last evaluation', lambda: list(tmp_path.glob('stages/align-reason-*/done.json')))
  for process in started:
    process.send_signal(signal.SIGTERM)
  codes, said = end(started, 60)
  assert codes == [143, 143], said
  assert 'stopped while align/reason was evaluated' in said[0] and 'stopped' not in said[1]
  assert not list(tmp_path.glob('stages/align-reason-*/evals.jsonl'))


def test_a_lost_process_ends_the_others_and_costs_no_result(alone, tmp_path):
  started = start(2, tmp_path)
  under_way(tmp_path)
  started[1].kill()
  codes, _ = end(started, 60)
  assert codes[1] == -signal.SIGKILL
  assert codes[0] in (75, -signal.SIGABRT)  # JAX aborts where it notices first
  codes, said = end(start(2, tmp_path))
  assert codes == [0, 0], said
  assert outcome.records(tmp_path, device=False) == alone


def test_bad_input_is_said_once_and_ends_all(tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  codes, said = end(start(2, tmp_path), 60)
  assert codes == [2, 2]
  assert 'thesis.tex' in said[0] and 'thesis.tex' not in said[1]
