"""Several processes on loopback: together they do what one does, and however they end, the same
command finishes their work."""

from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import time

import pytest

from tests.end_to_end import programs
from tests.end_to_end.programs import begun, differences, end, outcome

DIALS = [
  '--config.arms=("reason",)',
  '--config.later_arms=()',
  '--config.later=()',
  '--config.claims=()',
  '--config.pretrain.updates=60',  # long enough for a busy machine to pass a signal on
  '--config.pretrain.checkpoint_every=10',
  '--config.device.steps_per_dispatch=1',
]
DEVICES = 4  # of all processes together: then the mesh is one, and results are equal to the bit


def start(count: int, workdir: Path, *arguments: str) -> list[subprocess.Popen]:
  """`count` processes that work on one study."""
  devices = f'--config.device.host_devices={DEVICES // count}'
  return programs.start(programs.command(workdir, *DIALS, devices, *arguments), count)


def wait_for(what: str, holds: Callable[[], object], seconds: float = 180) -> None:
  deadline = time.monotonic() + seconds
  while not holds():
    assert time.monotonic() < deadline, f'{what}: did not come'
    time.sleep(0.1)


def under_way(workdir: Path) -> None:
  """Waits until pretraining has a checkpoint."""
  wait_for('a checkpoint', lambda: begun(workdir, 'pretrain'))


@pytest.fixture(scope='module')
def alone(tmp_path_factory) -> dict:
  workdir = tmp_path_factory.mktemp('alone')
  codes, said = end(start(1, workdir))
  assert codes == [0], said
  return outcome(workdir)


def test_four_processes_equal_one(alone, tmp_path):
  codes, said = end(start(4, tmp_path))
  assert codes == [0] * 4, said
  assert not differences(outcome(tmp_path), alone)
  assert all('waits for 4 processes' in text for text in said)


def test_sigterm_to_one_process_saves_and_ends_all(alone, tmp_path):
  started = start(2, tmp_path)
  under_way(tmp_path)
  started[0].send_signal(signal.SIGTERM)
  codes, said = end(started, 240)
  assert codes == [143, 143], said
  assert 'stopped and saved at update' in said[0] and 'stopped' not in said[1]
  codes, said = end(start(1, tmp_path))  # on one process what two have begun
  assert codes == [0], said
  assert not differences(outcome(tmp_path), alone)
  again = start(2, tmp_path)  # nothing is left to do
  assert end(again)[0] == [0, 0]


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
  codes, _ = end(started, 240)
  assert codes[1] == -signal.SIGKILL
  assert codes[0] in (75, -signal.SIGABRT)  # JAX aborts where it notices first
  codes, said = end(start(2, tmp_path))
  assert codes == [0, 0], said
  assert not differences(outcome(tmp_path), alone)


def test_bad_input_is_said_once_and_ends_all(tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  codes, said = end(start(2, tmp_path), 60)
  assert codes == [2, 2]
  assert 'thesis.tex' in said[0] and 'thesis.tex' not in said[1]
