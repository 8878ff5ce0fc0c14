"""Processes to be killed, and how they end who are left."""

from collections.abc import Sequence
import contextlib
import dataclasses
import os
from pathlib import Path
import signal
import subprocess
import time

from tests.end_to_end import programs

_PATIENCE = 900  # seconds after which processes count as stuck
_TICKS = os.sysconf('SC_CLK_TCK')
_AFTER_PEER = (0, 75, -signal.SIGABRT)  # codes of one whose peer was killed: JAX aborts some
_AFTER_RUN = (0, 1)  # of a sweep one run of which was killed


class Lost(Exception):
  """Something that was done is gone, or the same command does not go on."""


@dataclasses.dataclass(frozen=True)
class Way:
  """A way to run a study, and who of it may be killed."""

  arguments: tuple[str, ...]
  victims: tuple[str, ...]
  count: int = 1
  weight: float = 1.0  # of its share of all kills: what is cheap to run is killed more often


WAYS = {
  'one process': Way(('--config.device.host_devices=2',), ('process',), weight=2.0),
  'sweep': Way(
    ('--config.device.host_devices=2', '--action=sweep', '--per_run=1'), ('pool', 'run', 'all')
  ),
  'two processes': Way(
    ('--config.device.host_devices=1',), ('first', 'second'), count=2, weight=0.5
  ),
}


class Running:
  """The processes of one command; in its context none outlives a fault of the test."""

  def __init__(self, way: Way, workdir: Path, arguments: Sequence[str], stages: int):
    """`stages` is how many there are to train."""
    self._workdir, self._stages = workdir, stages
    self._begun, self._spent = time.time(), {}
    self._logs = {path: path.stat().st_size for path in (workdir / 'logs').glob('*.log')}
    self._file = workdir.with_suffix('.said')
    self._file.parent.mkdir(parents=True, exist_ok=True)
    words = programs.command(workdir, *arguments, *way.arguments)
    with open(self._file, 'w') as said:
      streams = dict(stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
      self._processes = programs.start(words, way.count, **streams)

  def __enter__(self) -> 'Running':
    return self

  def __exit__(self, kind, *_) -> None:
    if kind is not None:
      _kill(self._all())

  def said(self) -> str:
    """What the processes printed, and those that a sweep started."""
    texts = [self._file.read_text(errors='replace')]
    for path in sorted((self._workdir / 'logs').glob('*.log')):
      texts.append(path.read_bytes()[self._logs.get(path, 0) :].decode(errors='replace'))
    return '\n'.join(texts)

  def finish(self) -> float:
    """Waits for the end, which must be a good one; returns the seconds of CPU until then."""
    self._reach(float('inf'))
    self._wait((), (0,))
    return sum(self._spent.values())

  def kill(self, seconds: float, victim: str, grace: float) -> str:
    """Kills -9 after so many seconds of CPU, and says in the midst of what; '' if all ended before.

    Who is left of two has `grace` seconds to end by itself; the runs of a killed pool go on.
    """
    if not self._reach(seconds):
      return ''
    first, last = self._processes[0], self._processes[-1]
    targets = {'run': self._runs()[:1] or [first.pid], 'second': [last.pid], 'all': self._all()}
    killed = _kill(targets.get(victim, [first.pid]))
    phase = self._phase()
    if victim in ('first', 'second'):
      left = last if victim == 'first' else first
      with contextlib.suppress(subprocess.TimeoutExpired):
        left.wait(grace)
      if left.poll() is None:
        killed += _kill([left.pid])
      self._wait(killed, _AFTER_PEER)
    else:
      self._wait(killed, _AFTER_RUN)
    return phase

  def _reach(self, seconds: float) -> bool:
    """Waits until all together have had so many seconds of CPU: of those a run needs as many
    however busy the machine is. False if they end before."""
    while sum(self._spent.values()) < seconds:
      if all(process.poll() is not None for process in self._processes):
        return False
      if time.time() > self._begun + _PATIENCE:
        raise Lost(f'{self._workdir}: stuck; it said: {self.said()[-2000:]}')
      time.sleep(0.01)
      for process in self._processes:
        pid, *children = process.pid, *_children(process.pid)
        self._spent |= {pid: spent for pid in (pid, *children) if (spent := _cpu(pid))}
    return True

  def _wait(self, killed: Sequence[int], allowed: Sequence[int]) -> None:
    """Waits for the ends of all processes, and raises Lost where one is none of those allowed."""
    for process in self._processes:
      try:
        code = process.wait(_PATIENCE)
      except subprocess.TimeoutExpired as error:
        raise Lost(f'{self._workdir}: stuck; it said: {self.said()[-2000:]}') from error
      if code not in allowed and not (process.pid in killed and code == -signal.SIGKILL):
        raise Lost(f'{self._workdir}: exit code {code}; it said: {self.said()[-2000:]}')

  def _all(self) -> list[int]:
    return [*(p.pid for p in self._processes if p.poll() is None), *self._runs()]

  def _runs(self) -> list[int]:
    """Processes of a sweep of this workdir, whoever started them."""
    mine = f'--workdir={self._workdir}'
    alive = [(pid, words) for pid, words in _commands(mine) if mine in words]
    return [pid for pid, words in alive if any(word.startswith('--run=') for word in words)]

  def _phase(self) -> str:
    """What was under way, by what there is since these processes began."""
    workdir = self._workdir
    if not _fresh(workdir / 'lock', self._begun):
      return 'start'
    drafts = [path for path in programs.drafts(workdir) if _fresh(path, self._begun)]
    for part, phase in (('orbax', 'checkpoint'), ('incomplete.', 'corpus'), ('', 'record')):
      if any(part in path.name for path in drafts):
        return phase
    found = programs.stages(workdir)
    trained = [stage for stage in found if (stage / 'done.json').exists()]
    if any(not (stage / 'result.json').exists() for stage in trained):
      return 'evaluation'
    if len(trained) == self._stages:
      return 'report'
    begun = [s for s in found if s not in trained and _fresh(s / 'stage.json', self._begun)]
    if any(_fresh(stage / 'metrics.jsonl', self._begun) for stage in begun):
      return 'training'
    return 'compilation' if begun else 'start of a stage'


def end_those_of(root: Path) -> None:
  """Kills what works in workdirs below `root`: of a campaign that was itself killed."""
  below = f'--workdir={root}/'
  while alive := _kill([pid for pid, _ in _commands(below)]):
    time.sleep(0.1 * len(alive))


def _commands(beginning: str) -> list[tuple[int, list[str]]]:
  """Processes with a word that begins so, and all their words."""
  found = []
  for path in Path('/proc').glob('[0-9]*/cmdline'):
    with contextlib.suppress(OSError):  # it ended meanwhile
      words = path.read_bytes().decode(errors='replace').split('\0')
      if any(word.startswith(beginning) for word in words):
        found.append((int(path.parent.name), words))
  return sorted(found)


def _kill(pids: Sequence[int]) -> list[int]:
  for pid in pids:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
  return list(pids)


def _children(pid: int) -> list[int]:
  with contextlib.suppress(OSError):
    return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
  return []


def _cpu(pid: int) -> float:
  """Seconds of CPU that a process has had; 0 when it is gone."""
  with contextlib.suppress(OSError):
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
  return 0.0


def _fresh(path: Path, since: float) -> bool:
  """Whether a file was written since then; kernels tell the time of files by ticks."""
  with contextlib.suppress(FileNotFoundError):
    return path.stat().st_mtime > since - 0.02
  return False
