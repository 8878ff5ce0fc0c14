"""A sweep on this machine: a bounded pool of processes, each with cores or GPUs of its own."""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from whyjax.config import StudyConfig
from whyjax.errors import UserError
from whyjax.study import runner
from whyjax.study import workdir as workdirs
from whyjax.sweep import runs
from whyjax.sweep.runs import Run
from whyjax.training.interrupt import Interrupt, Preempted

_RETRIES = 3  # of a run that was stopped by others, or stuck
_TRANSIENT = (*runs.STOPPED, 75, 134)
_POLL_SECONDS = 0.2
_LINGER_SECONDS = 120.0  # that runs of a killed pool may take to see that nothing is left to do
_PROGRAM = (sys.executable, '-m', 'whyjax.main')


class RunsFailed(Exception):
  """Some runs ended with a fault; all that do not need them are done."""

  exit_code = 1


@dataclasses.dataclass(frozen=True)
class Slot:
  """What one run of the pool has: cores of the CPU, or GPUs by CUDA_VISIBLE_DEVICES."""

  cores: frozenset[int]
  environment: Mapping[str, str]


@dataclasses.dataclass
class _Job:
  run: Run
  slot: Slot
  process: subprocess.Popen


def slots(platform: str, per_run: int) -> list[Slot]:
  """The machine in parts of `per_run` cores or GPUs each; 0: one part, which is all of it.

  Raises:
    UserError: a run would need more than there is, or the platform can't be divided.
  """
  cores = _cores()
  if platform == 'tpu':
    if per_run:
      raise UserError(f'--per_run = {per_run}: must be 0 on TPU: one process has all its chips')
    return [Slot(frozenset(cores), {})]
  units = cores if platform == 'cpu' else _gpus()
  what = 'cores' if platform == 'cpu' else 'GPUs'
  size = per_run or len(units)
  if not units:
    raise UserError("config.device.platform = 'gpu': this machine has no GPU that is free to use")
  if not 0 <= per_run <= len(units):
    raise UserError(f'--per_run = {per_run}: must be 0 to {len(units)}, the {what} of this machine')
  parts = [units[i : i + size] for i in range(0, len(units) - size + 1, size)]
  if platform == 'cpu':
    return [Slot(frozenset(part), {}) for part in parts]
  return [Slot(frozenset(cores), {'CUDA_VISIBLE_DEVICES': ','.join(part)}) for part in parts]


def _cores() -> list[int]:
  """Those that this process may use; macOS does not tell them apart."""
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def _gpus() -> list[str]:
  """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is not None:
    return [gpu for gpu in visible.split(',') if gpu]
  if shutil.which('nvidia-smi') is None:
    return []
  query = ['nvidia-smi', '--query-gpu=index', '--format=csv,noheader']
  return subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()


def sweep(
  study: StudyConfig, workdir: Path, arguments: Sequence[str], per_run: int, console: Console
) -> None:
  """Does all runs that lack a result, as many at a time as fit, and then judges and reports.

  Args:
    arguments: of the command, which say what study it is, and where.
    per_run: cores or GPUs of each run; 0: one run at a time has the whole machine.

  Raises:
    UserError: bad input, or another sweep works in the workdir.
    RunsFailed: some runs failed; the same command tries them again.
    Preempted: the process was asked to end, and all its runs have saved.
  """
  found = runs.expand(study)
  pool = slots(study.device.platform, per_run)
  with (
    workdirs.hold(workdir, study.name, shared=True),
    workdirs.lock(workdir / 'logs', f'sweep of {workdir}'),
  ):
    runs.write(found, workdir)
    with Interrupt() as interrupt:
      failed = _Pool(found, workdir, arguments, pool, console).work(interrupt)
  if failed:
    raise RunsFailed(
      f'{failed} of {len(found)} runs are not done: --action=status shows why; the same command '
      'tries them again'
    )
  runner.run(study, workdir, console, patience=_LINGER_SECONDS)


def _alone(run: Run) -> list[str]:
  """Flags that make the command of a sweep that of one run: of two alike the last counts."""
  return ['--action=run', '--per_run=0', f'--run={run.index}']


class _Pool:
  """Starts runs whose parents are done in free slots, until nothing can be started any more."""

  def __init__(self, found, workdir, arguments, pool, console):
    self._runs: Sequence[Run] = found
    self._workdir: Path = workdir
    self._arguments: Sequence[str] = arguments
    self._free: list[Slot] = list(pool)
    self._console: Console = console
    self._jobs: list[_Job] = []
    self._tries: dict[int, int] = {}
    states = {run.index: runs.state(run, workdir).word for run in found}
    self._done = {i for i, word in states.items() if word == runs.DONE}
    self._failed: set[int] = set()
    self._waiting = [run for run in found if run.index not in self._done]

  def work(self, interrupt: Interrupt) -> int:
    """Returns how many runs are not done: they failed, or wait for one that did.

    However it ends, no run that it has started goes on: they are asked to save, and awaited.
    """
    columns = (
      TextColumn('{task.description}'),
      BarColumn(),
      TextColumn('{task.completed}/{task.total} runs'),
      TimeElapsedColumn(),
      TimeRemainingColumn(),
    )
    with contextlib.ExitStack() as last:
      last.callback(self._stop)
      progress = last.enter_context(Progress(*columns, console=self._console, transient=True))
      bar = progress.add_task('', total=len(self._runs), completed=len(self._done))
      while self._jobs or self._startable():
        if number := interrupt.poll():
          self._stop()
          raise Preempted(f'stopped with {self._left()} of {len(self._runs)} runs to do', number)
        self._reap()
        self._start()
        now = ', '.join(job.run.stage.name for job in self._jobs)
        failed = f'{len(self._failed)} failed, ' if self._failed else ''
        progress.update(bar, completed=len(self._done), description=f'{failed}running {now}')
        time.sleep(_POLL_SECONDS)
    return len(self._runs) - len(self._done)

  def _startable(self) -> list[Run]:
    return [run for run in self._waiting if run.after in self._done or run.after < 0]

  def _start(self) -> None:
    for run in self._startable():
      if not self._free:
        return
      if runs.state(run, self._workdir).word == runs.RUNNING:
        continue  # of a sweep whose pool was killed: it ends by itself
      slot = self._free.pop()
      self._waiting.remove(run)
      self._tries[run.index] = self._tries.get(run.index, 0) + 1
      with open(runs.log(run, self._workdir), 'ab') as log:
        process = subprocess.Popen(
          [*_PROGRAM, *self._arguments, *_alone(run)],
          stdin=subprocess.DEVNULL,
          stdout=log,
          stderr=subprocess.STDOUT,
          env={**os.environ, **slot.environment},
          start_new_session=True,  # Ctrl-C is ours alone: they are asked to save
        )
      self._jobs.append(_Job(run, slot, process))
      if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(process.pid, slot.cores)

  def _reap(self) -> None:
    for job in [job for job in self._jobs if job.process.poll() is not None]:
      self._jobs.remove(job)
      self._free.append(job.slot)
      found = runs.state(job.run, self._workdir)
      name = job.run.stage.name
      held = found.word == runs.RUNNING  # by a run of a killed pool, which was faster
      transient = job.process.returncode in _TRANSIENT
      if found.word == runs.DONE:
        self._done.add(job.run.index)
        self._console.print(f'{name}: done', highlight=False)
      elif held or (transient and self._tries[job.run.index] < _RETRIES):
        self._waiting.append(job.run)
      else:
        self._failed.add(job.run.index)
        self._console.print(f'[bold reverse red] {name} failed [/] {found.line}', highlight=False)

  def _stop(self) -> None:
    """Ends all runs, which save first."""
    for job in self._jobs:
      job.process.send_signal(signal.SIGTERM)
    for job in self._jobs:
      job.process.wait()

  def _left(self) -> int:
    states = [runs.state(run, self._workdir).word for run in self._runs]
    return len(states) - states.count(runs.DONE)
