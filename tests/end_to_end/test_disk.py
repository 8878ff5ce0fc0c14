"""A full disk, and one that may not be written, end a run with one line; once that is mended, the
same command goes on, and nothing was lost."""

from collections.abc import Callable
import os
from pathlib import Path
import resource
import subprocess
import time
import warnings

import pytest

from tests.end_to_end import programs
from tests.end_to_end.disk import Disk

DIALS = (
  '--config.arms=("reason",)',
  '--config.later_arms=()',
  '--config.later=()',
  '--config.claims=()',
  '--config.pretrain.updates=60',
  '--config.pretrain.checkpoint_every=10',
  '--config.device.steps_per_dispatch=1',
)
FULL = 'No space left on device; mend that, then the same command goes on from there\n'
PRETRAIN = 'w/stages/pretrain-*'
# What is there when the disk fills up.
MOMENTS = {
  'a corpus': 'w/corpora/packed_rows/*',
  'training': f'{PRETRAIN}/metrics.jsonl',
  'a checkpoint': f'{PRETRAIN}/checkpoints/*.orbax-checkpoint-tmp',
  'an evaluation': f'{PRETRAIN}/done.json',
  'the report': 'w/stages/align-*/result.json',
}


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> Path:
  """Where all keep their compiled programs: what JAX calls them depends on where."""
  return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def command(cache) -> Callable[..., list[str]]:
  """(workdir, *arguments) -> the command of the study."""
  dials = (*DIALS, f'--config.device.compile_cache={cache}')
  return lambda workdir, *arguments: programs.command(workdir, *dials, *arguments)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, command, cache) -> tuple[dict, set[Path]]:
  """What a run leaves, and what it compiles."""
  workdir = tmp_path_factory.mktemp('reference') / 'w'
  codes, said = programs.end(programs.start(command(workdir)))
  assert codes == [0], said
  return programs.outcome(workdir), set(cache.glob('*-cache'))


@pytest.fixture(scope='module')
def reference(undisturbed) -> dict:
  return undisturbed[0]


@pytest.fixture
def disk(tmp_path):
  try:
    made = Disk(tmp_path / 'disk', '64m')
  except OSError as why:
    warnings.warn(f'NOT TESTED: {why}', stacklevel=1)
    pytest.skip(str(why))
  with made:
    yield made


def end(process: subprocess.Popen) -> tuple[int, str, str]:
  """Exit code, stdout and stderr: a full disk must not make anything wait."""
  out, said = process.communicate(timeout=240)
  return process.returncode, out, said


def fault(said: str) -> str:
  """The one line that tells of a fault; a slow machine says before it how far it is."""
  *before, line = said.splitlines()
  assert all(progress.startswith('[') for progress in before), said
  return line + '\n'


def wait(disk: Disk, pattern: str, process: subprocess.Popen) -> None:
  """Until there is something of that name."""
  deadline = time.monotonic() + 240
  while not any(disk.seen.glob(pattern)):
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline
    time.sleep(0.002)


def test_a_disk_that_fills_up_anywhere_costs_time_alone(reference, command, disk):
  words = command(disk.path / 'w')
  disk.fill()
  assert end(disk.start(words)) == (2, '', f'whyjax: [Errno 28] {FULL}')
  disk.empty()
  for moment, pattern in MOMENTS.items():
    process = disk.start(words)
    wait(disk, pattern, process)
    disk.fill()
    code, _, said = end(process)
    line = fault(said)
    assert code == 2 and line.startswith('whyjax: ') and line.endswith(FULL), (moment, code, said)
    disk.empty()
  assert end(disk.start(words))[0] == 0
  assert not programs.differences(programs.outcome(disk.seen / 'w'), reference)
  assert not programs.drafts(disk.seen / 'w')


def test_a_sweep_on_a_disk_that_fills_up_goes_on_where_it_was(reference, command, disk):
  words = command(disk.path / 'w', '--action=sweep')
  disk.fill()
  code, _, said = end(disk.start(words))
  assert code == 2 and 'No space left on device' in fault(said)
  disk.empty()
  for moment in ('training', 'an evaluation'):
    process = disk.start(words)
    wait(disk, MOMENTS[moment], process)
    disk.fill()
    code, out, said = end(process)
    assert code in (1, 2) and fault(said).startswith('whyjax: '), (moment, said)
    assert code == 2 or 'pretrain failed' in out
    disk.empty()
  assert end(disk.start(words))[0] == 0
  assert not programs.differences(programs.outcome(disk.seen / 'w'), reference)


def test_damage_to_the_compile_cache_costs_time_alone(undisturbed, command, cache, tmp_path):
  """JAX writes it in place, and never again: a kill, or a full disk, may leave halves of programs
  there. The first start that meets them replaces them."""
  reference, compiled = undisturbed
  assert {entry.name.split('-')[0] for entry in compiled} >= {'jit_dispatch', 'jit_local'}
  sizes = {entry: entry.stat().st_size for entry in compiled}
  known = set(cache.glob('*-cache'))
  for entry, size in sizes.items():
    os.truncate(entry, size // 2)
  (process,) = programs.start(command(tmp_path / 'w'))
  code, _, said = end(process)
  assert code == 0 and all(line.startswith('[') for line in said.splitlines()), said
  assert not programs.differences(programs.outcome(tmp_path / 'w'), reference)
  assert set(cache.glob('*-cache')) == known
  assert all(entry.stat().st_size > 0.9 * size for entry, size in sizes.items())


@pytest.mark.parametrize('action', ['run', 'sweep', 'expand'])
def test_a_disk_that_may_not_be_written_is_said_before_any_compute(command, disk, action):
  words = command(disk.path / 'w', f'--action={action}')
  for _ in range(2):  # a new workdir, and one that is there
    disk.remount('ro')
    line = f'whyjax: workdir {disk.path}/w: cannot be written (Read-only file system); give another'
    assert end(disk.start(words)) == (2, '', line + '\n')
    disk.remount('rw')
    assert end(disk.start(command(disk.path / 'w', '--action=expand')))[0] == 0


def test_a_limit_on_the_size_of_files_is_such_a_fault(reference, command, tmp_path):
  """What can be tested where nobody may make a disk."""
  words = command(tmp_path / 'w')
  for kilobytes in (20, 150):

    def limit(size: int = 1000 * kilobytes) -> None:
      resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    (process,) = programs.start(words, preexec_fn=limit, stdout=subprocess.PIPE, stderr=-1)
    code, _, said = end(process)
    assert code == 2 and 'File too large; mend that' in fault(said), said
  (process,) = programs.start(words)
  assert end(process)[0] == 0
  assert not programs.differences(programs.outcome(tmp_path / 'w'), reference)
