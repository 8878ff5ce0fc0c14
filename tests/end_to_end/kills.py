"""kill -9 at random moments: `python -m tests.end_to_end.kills 200 [--seed=0] [--root=DIR]`.

A tiny study is run in one workdir after another: as one process, as a sweep, and by two processes
together. It is killed after a random part of the CPU seconds that an undisturbed run takes, and the
same command is started again, until it comes to its end before its moment. What was finished before
a kill must be there after it, training must go on from its last whole checkpoint, and in the end
all that a study leaves must equal, to the bit, what an undisturbed run left.

Prints a line a kill, then a table; exit code 1 where anything was lost. DIR (default
runs/kills-SEED) holds what was done: the same command goes on there. The seed decides moments and
victims; what is under way at a moment, the machine decides.
"""

import argparse
from collections.abc import Callable
import dataclasses
import functools
import json
from pathlib import Path
import re
import shutil
import sys

from absl import logging
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from tests.end_to_end import programs
from tests.end_to_end.victims import WAYS, Lost, Running, Way, end_those_of

DIALS = (
  *(f'--config.{stage}.checkpoint_every=1' for stage in ('pretrain', 'align', 'later_training')),
  '--config.device.steps_per_dispatch=1',
)
STUDIES = {  # by the number of stages that they train
  2: (  # fewer checkpoints: twelve take a fifth of the time of a run
    *DIALS,
    *(
      f'--config.{stage}.{dial}'
      for stage in ('pretrain', 'align')
      for dial in ('updates=4', 'checkpoint_every=2')
    ),
    '--config.arms=("reason",)',
    '--config.later_arms=()',
    '--config.later=()',
    '--config.claims=()',
  ),
  4: (
    *DIALS,
    '--config.arms=("demonstrations", "reason")',
    '--config.later_arms=("reason",)',
    '--config.later_training.probes=(2,)',
    '--config.evals.samples=1',
  ),
}
COLD = 10  # one workdir in so many has a compile cache of its own, empty at first
_SAVES = re.compile(r'^(\S+): resumes at update (\d+) of', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Seen:
  """What a workdir holds: bytes of all that is finished, and of each stage that is not, the updates
  that its newest checkpoint and its metrics speak of."""

  finished: dict[Path, bytes]
  saved: dict[str, int]
  reported: dict[str, int]

  @classmethod
  def of(cls, workdir: Path) -> 'Seen':
    """What is there now, while processes may be adding to it."""
    found = programs.stages(workdir)
    names = ('done.json', 'evals*.jsonl', 'result.json')
    finished = {p: p.read_bytes() for stage in found for name in names for p in stage.glob(name)}
    training = [stage for stage in found if stage / 'done.json' not in finished]
    saved = {stage.name: programs.latest(stage) for stage in training}
    return cls(finished, saved, {stage.name: programs.reported(stage) for stage in training})

  def cost(self) -> int:
    """Updates that must be done again if all processes are dead."""
    return sum(max(0, self.reported[name] - self.saved[name]) for name in self.saved)

  def check_kept(self, later: 'Seen') -> None:
    """Raises Lost unless all of this is still there in a later look."""
    gone = [str(p) for p, content in self.finished.items() if later.finished.get(p) != content]
    gone += [f'{name}: checkpoint {n}' for name, n in self.saved.items()
             if n > later.saved.get(name, n)]  # fmt: skip
    if gone:
      raise Lost(f'no longer there, or changed: {", ".join(gone)}')

  def check_resumed(self, said: str) -> None:
    """Raises Lost if training, as it says, went on from an earlier update than was saved."""
    for name, update in _SAVES.findall(said):
      for directory, saved in self.saved.items():
        if directory.startswith(name.replace('/', '-') + '-') and int(update) < saved:
          raise Lost(f'{name}: went on from update {update}; a checkpoint had {saved}')


class Campaign:
  """Kills, and what came of them, in the directory `root`.

  Args:
    stages: that its study trains, 2 or 4.
    own: each way has reference runs of its own; else those of one process serve all.
    most: kills in one workdir, before it is left to come to its end.
    grace: seconds that a process has to notice that its peer was killed, before it is, too.
    say: takes a line for each kill and each end.
  """

  def __init__(
    self,
    root: Path,
    seed: int,
    stages: int,
    own: bool,
    most: int,
    grace: float,
    say: Callable[[str], None],
  ):
    self._root, self._seed, self._stages, self._most = root, seed, stages, most
    self._own, self._grace, self._say = own, grace, say
    self._log, self._outcomes = root / 'kills.jsonl', {}
    root.mkdir(parents=True, exist_ok=True)
    lines = self._log.read_text().splitlines() if self._log.exists() else []
    self._records = [json.loads(line) for line in lines]

  def records(self, kind: str, **fields) -> list[dict]:
    """What was noted: a 'reference', 'timed', 'begin', 'kill' or 'end' with these values."""
    wanted = {'kind': kind} | fields
    return [r for r in self._records if wanted.items() <= r.items()]

  def work(self, kills: int) -> None:
    """Goes on until there were so many kills and every workdir came to its end.

    Raises:
      Lost: something was; the workdir is left as it is.
    """
    end_those_of(self._root)
    self._refer()
    while True:
      ended = {r['workdir'] for r in self.records('end')}
      begun = [r for r in self.records('begin') if r['workdir'] not in ended]
      enough = len(self.records('kill')) >= kills
      if begun:
        self._attempt(begun[0]['workdir'], begun[0]['way'], begun[0]['cold'], enough)
      elif enough:
        return
      else:
        fewest = min(WAYS, key=lambda n: len(self.records('kill', way=n)) / WAYS[n].weight)
        number = len(ended)
        self._note('begin', workdir=number, way=fewest, cold=number % COLD == COLD - 1)

  def _note(self, kind: str, **fields) -> None:
    self._records.append({'kind': kind, **fields})
    with open(self._log, 'a') as log:
      log.write(json.dumps(self._records[-1]) + '\n')

  def _refer(self) -> None:
    """Runs that nothing disturbs: the first fills the compile cache, the second is timed."""
    for name in WAYS if self._own else list(WAYS)[:1]:
      for kind in ('reference', 'timed'):
        if self.records(kind, way=name):
          continue
        workdir = self._directory(kind, name)
        shutil.rmtree(workdir, ignore_errors=True)
        with self._start(WAYS[name], workdir, self._root / 'cache') as running:
          seconds = round(running.finish(), 2)
        self._compare(name, workdir)
        self._note(kind, way=name, seconds=seconds)
        self._say(f'{kind}, {name}: {seconds:.1f} s of CPU')

  def _directory(self, kind: str, way: str) -> Path:
    return self._root / kind / way.replace(' ', '-')

  def _start(self, way: Way, workdir: Path, cache: Path) -> Running:
    words = [*STUDIES[self._stages], f'--config.device.compile_cache={cache}']
    return Running(way, workdir, words, self._stages)

  def _compare(self, way: str, workdir: Path) -> None:
    """Raises Lost unless a workdir equals an undisturbed one of its way, and one of one process."""
    outcome, first = programs.outcome(workdir), next(iter(WAYS))
    for name in {way if self._own else first, first}:
      reference = self._directory('reference', name)
      if reference not in self._outcomes:
        self._outcomes[reference] = programs.outcome(reference)
      if differs := programs.differences(self._outcomes[reference], outcome):
        raise Lost(f'{workdir}: differs from {reference}: {", ".join(differs)}')
    if left := programs.drafts(workdir):
      raise Lost(f'{workdir}: nobody took away {", ".join(map(str, left))}')

  def _attempt(self, number: int, name: str, cold: bool, enough: bool) -> None:
    """Starts the command of a workdir (again), and kills it unless there were kills enough."""
    workdir, cache = self._root / f'workdir-{number}', self._root / 'cache'
    if cold:
      cache = self._root / f'cache-{number}'
    attempt = len(self.records('kill', workdir=number))
    rng = np.random.default_rng([self._seed, number, attempt])
    seconds = rng.uniform(0, self._seconds(name, cold))
    victim = rng.choice(WAYS[name].victims)
    before = Seen.of(workdir)
    with self._start(WAYS[name], workdir, cache) as running:
      enough = enough or attempt == self._most
      phase = '' if enough else running.kill(seconds, victim, self._grace)
      needed = 0.0 if phase else running.finish()
      said = running.said()
    after = Seen.of(workdir)
    before.check_kept(after)
    before.check_resumed(said)
    if phase:
      fields = dict(workdir=number, way=name, cold=cold, victim=str(victim), phase=phase)
      self._note('kill', **fields, seconds=round(seconds, 3), cost=after.cost())
      kills = len(self.records('kill'))
      self._say(
        f'kill {kills}: workdir {number}, {name}{", cold" * cold}, {victim} after {seconds:.1f} s: '
        f'{phase}'
      )
      return
    self._compare(name, workdir)
    self._note('end', workdir=number, way=name, cold=cold, kills=attempt, seconds=round(needed, 2))
    self._say(f'workdir {number}, {name}: equal after {attempt} kills')
    shutil.rmtree(workdir)
    if cold:
      shutil.rmtree(cache)

  def _seconds(self, way: str, cold: bool) -> float:
    """CPU that an undisturbed run takes, by the last that there was."""
    of = way if self._own else next(iter(WAYS))
    # Two processes need twice as much, about what one needs that compiles.
    cold_like = cold or (of != way and WAYS[way].count > 1)
    known = self.records('reference' if cold_like else 'timed', way=of)
    known += self.records('end', way=way, cold=cold, kills=0)
    return known[-1]['seconds']

  def figures(self) -> Table:
    """Kills by what was under way, and by way to run."""
    table = Table(box=box.SIMPLE)
    table.add_column('killed in')
    for name in WAYS:
      table.add_column(name, justify='right')
    kills = self.records('kill')
    for phase in sorted({r['phase'] for r in kills}):
      table.add_row(phase, *(str(len(self.records('kill', way=n, phase=phase))) for n in WAYS))
    table.add_section()
    table.add_row('all', *(str(len(self.records('kill', way=name))) for name in WAYS))
    table.add_row('workdirs, all equal', *(str(len(self.records('end', way=n))) for n in WAYS))
    most = [max((r['cost'] for r in self.records('kill', way=n)), default=0) for n in WAYS]
    table.add_row('most updates done again', *map(str, most))
    return table


def main() -> int:
  """Does what the command line says; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('kills', type=int)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--root', type=Path)
  given = parser.parse_args()
  logging.set_verbosity(logging.ERROR)  # Orbax tells that it reads
  root = (given.root or Path(f'runs/kills-{given.seed}')).absolute()
  say = functools.partial(print, flush=True)
  campaign = Campaign(root, given.seed, stages=4, own=True, most=12, grace=30, say=say)
  try:
    campaign.work(given.kills)
  except Lost as lost:
    print(f'LOST: {lost}', file=sys.stderr)
    return 1
  Console().print(campaign.figures())
  return 0


if __name__ == '__main__':
  sys.exit(main())
