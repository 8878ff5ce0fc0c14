"""What a sweep is made of, how far it is, and what it has found so far, from its workdir alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
import itertools
import os
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from whyjax.config import StudyConfig
from whyjax.errors import UserError
from whyjax.study import cache
from whyjax.study import workdir as workdirs
from whyjax.sweep import runs
from whyjax.sweep.runs import Run

TABLE = 'results.parquet'
# Columns may be null in all files, and then have no type of their own.
_COPY = """
copy (
  select * replace (cast("update" as bigint) as "update", cast(margin as double) as margin)
  from (select unnest(rows, recursive := true)
        from read_json($1, sample_size = -1, maximum_object_size = 268435456))
) to '{path}' (format parquet)
"""
_STYLES = {runs.DONE: 'green', runs.RUNNING: 'cyan', runs.FAILED: 'bold red', runs.PENDING: 'dim'}
_SHOWN = 40  # rows of a table of runs, those that need attention first


def expand(study: StudyConfig, workdir: Path, console: Console) -> None:
  """Writes `runs.jsonl`, and prints a line for each level with runs that lack a result: the level
  and their numbers as array jobs take them, such as 1-4,7."""
  found = runs.expand(study)
  with workdirs.hold(workdir, study.name, shared=True):
    runs.write(found, workdir)
    (workdir / 'logs').mkdir(exist_ok=True)
  for level, group in itertools.groupby(
    sorted(found, key=lambda run: (run.level, run.index)), key=lambda run: run.level
  ):
    lacking = [run.index for run in group if runs.state(run, workdir).word != runs.DONE]
    if lacking:
      console.print(f'{level} {_ranges(lacking)}', markup=False, highlight=False, soft_wrap=True)


def status(study: StudyConfig, workdir: Path, console: Console) -> None:
  """Prints how many runs are done, running, failed and pending, and those that are not done."""
  found = _runs(study, workdir)
  states = [runs.state(run, workdir) for run in found]
  counts = Counter(state.word for state in states)
  table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
  for name in ('run', 'stage', 'state'):
    table.add_column(name)
  table.add_column('', overflow='fold')
  order = [runs.FAILED, runs.RUNNING, runs.PENDING]
  open_runs = [(r, s) for r, s in zip(found, states, strict=True) if s.word in order]
  open_runs.sort(key=lambda pair: order.index(pair[1].word))
  for run, state in open_runs[:_SHOWN]:
    style = _STYLES[state.word]
    table.add_row(str(run.index), run.stage.name, f'[{style}]{state.word}[/]', state.line)
  if open_runs:
    console.print(table)
  if len(open_runs) > _SHOWN:
    console.print(f'and {len(open_runs) - _SHOWN} more', style='dim', highlight=False)
  if workdirs.is_locked(workdir):
    console.print('another process runs the whole study here, stage by stage', highlight=False)
  words = ', '.join(f'[{_STYLES[word]}]{counts[word]} {word}[/]' for word in _STYLES)
  console.print(f'{len(found)} runs: {words}', highlight=False)


def collect(study: StudyConfig, workdir: Path, console: Console) -> None:
  """Gathers the result of every finished run in `results.parquet`: one row a run, battery, scoring,
  replica and update (null at its end), as `cache.save_result` says.

  Raises:
    UserError: no run is finished.
  """
  import duckdb  # slow to import

  done = [run for run in _runs(study, workdir) if cache.has_result(run.stage, workdir)]
  if not done:
    raise UserError(f'workdir {workdir}: no finished stage to collect; see --action=status')
  files = [str(run.stage.directory(workdir) / cache.RESULT) for run in done]
  path = workdir / TABLE
  draft = workdirs.draft(path)
  with duckdb.connect() as database:
    database.execute(_COPY.format(path=str(draft).replace("'", "''")), [files])
    (rows,) = database.execute('select count(*) from read_parquet($1)', [str(draft)]).fetchone()
  os.replace(draft, path)
  console.print(f'{len(done)} finished runs, {rows:,} rows in {path}', highlight=False)


def _runs(study: StudyConfig, workdir: Path) -> Sequence[Run]:
  """The runs of a study that has a workdir."""
  workdirs.check(workdir, study.name)
  if not (workdir / workdirs.MARKER).exists():
    raise UserError(f'workdir {workdir}: nothing was run here yet')
  return runs.expand(study)


def _ranges(numbers: Iterable[int]) -> str:
  """1, 2, 3, 7 -> '1-3,7'."""
  parts = []
  for _, group in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
    run = [number for _, number in group]
    parts.append(f'{run[0]}-{run[-1]}' if run[1:] else str(run[0]))
  return ','.join(parts)
