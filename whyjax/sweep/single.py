"""One run of a sweep: one stage, trained and evaluated, while others work in the same workdir."""

import contextlib
from pathlib import Path

from rich.console import Console

from whyjax.config import StudyConfig
from whyjax.errors import UserError, ending
from whyjax.study import cache
from whyjax.study import workdir as workdirs
from whyjax.study.graph import Stage
from whyjax.sweep import runs
from whyjax.training import processes


def run(study: StudyConfig, workdir: Path, index: int, console: Console) -> None:
  """Does what is left to do of the stage with this number; the same command goes on.

  Raises:
    UserError: there is no such run, the workdir is of something else or cannot be written, the run
      before it has no result, or it is being run already.
    Preempted: the process was asked to end, and has saved its state.
  """
  chosen = runs.chosen(study, index)
  stage = chosen.stage
  directory = stage.directory(workdir)
  with contextlib.ExitStack() as held:
    held.enter_context(workdirs.hold_for_all(workdir, study.name, shared=True))

    def claim() -> None:
      if stage.parent and cache.trained(stage.parent, workdir) is None:
        raise UserError(
          f'--run = {index}: {stage.name} starts from {stage.parent.name}, which is not finished; '
          f'run {chosen.after} first'
        )
      held.enter_context(workdirs.lock(directory, f'run {index} ({stage.name})'))
      if not cache.has_result(stage, workdir):
        runs.begin(directory)

    processes.first_does(claim)
    if processes.agreed(lambda: cache.has_result(stage, workdir)):
      console.print(f'{stage.name}: done', highlight=False)
      return
    try:
      _complete(stage, workdir, console)
    except (SystemExit, Exception) as error:
      if processes.is_first():
        line, code = ending(error)
        with contextlib.suppress(OSError):  # of a full disk; that is what `error` says
          runs.end(directory, code, line)
      raise
    if processes.is_first():
      runs.end(directory, 0, '')


def _complete(stage: Stage, workdir: Path, console: Console) -> None:
  from whyjax.study import execute  # JAX: what is done already does not need it

  execute.complete(
    [stage],
    workdir,
    lambda line: console.print(line, style='dim', highlight=False),
    lambda finished: console.print(f'{finished.name}: done', highlight=False),
  )
