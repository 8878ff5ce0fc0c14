"""A study as runs of one stage each, for many processes or machines to share, and how far each is.

The stages that compute are numbered in the order of the study. The number is the line of
`runs.jsonl` and the index of an array job; with the arguments of the study it says all that a run
has to know. Runs of one level do not wait for each other: 0 starts from scratch, 1 from a stage of
level 0, and so on.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import json
import os
from pathlib import Path
import re
import socket

from whyjax.config import StudyConfig
from whyjax.errors import UserError
from whyjax.study import cache, graph
from whyjax.study import workdir as workdirs
from whyjax.study.graph import Stage

RUNS = 'runs.jsonl'
DONE, RUNNING, FAILED, PENDING = 'done', 'running', 'failed', 'pending'
STOPPED = (143, 130)  # exit codes of a run that saved and waits to go on
_WAITS = re.compile(r'waits for \d+ processes')
_ATTEMPT = 'attempt.json'  # in the directory of a stage: its last run, and how that ended


@dataclasses.dataclass(frozen=True)
class Run:
  """One stage of a study; `after` is the index of the run that it starts from, -1 for none."""

  index: int
  level: int
  after: int
  stage: Stage


@dataclasses.dataclass(frozen=True)
class State:
  """How far a run is: `word` for programs, `line` for people."""

  word: str
  line: str = ''


def expand(study: StudyConfig) -> list[Run]:
  """The runs of a study, each after the one that it starts from.

  Raises:
    UserError: as `graph.stages`.
  """
  found: dict[str, Run] = {}
  for stage in graph.stages(study):
    if stage.trains:
      before = found[stage.parent.name] if stage.parent else None
      level, after = (before.level + 1, before.index) if before else (0, -1)
      found[stage.name] = Run(len(found), level, after, stage)
  return list(found.values())


def write(runs: Sequence[Run], workdir: Path) -> Path:
  """Says in `runs.jsonl` of the workdir what each index means; returns its path. The log of a
  number that meant another stage is put aside, by the id of that."""
  known = _numbered(workdir)
  for run in runs:
    if known.get(run.index, run.stage.id) != run.stage.id:
      path = log(run, workdir)
      with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_suffix(f'.{known[run.index][:8]}.log'))
  lines = [
    {
      'index': run.index,
      'level': run.level,
      'after': run.after,
      'stage': run.stage.name,
      'id': run.stage.id,
      'directory': str(run.stage.directory(workdir).relative_to(workdir)),
    }
    for run in runs
  ]
  path = workdir / RUNS
  workdirs.write_atomic(path, ''.join(json.dumps(line) + '\n' for line in lines))
  return path


def _numbered(workdir: Path) -> dict[int, str]:
  """The id of each number in `runs.jsonl`; a file that is missing or damaged is written anew."""
  try:
    lines = map(json.loads, (workdir / RUNS).read_bytes().splitlines())
    return {line['index']: str(line['id']) for line in lines}
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return {}


def log(run: Run, workdir: Path) -> Path:
  """Where whoever starts a run puts what it prints; further attempts are appended."""
  return workdir / 'logs' / f'{run.index}.log'


def state(run: Run, workdir: Path) -> State:
  """How far a run is, as the workdir says."""
  directory = run.stage.directory(workdir)
  try:
    if cache.has_result(run.stage, workdir):
      return State(DONE)
  except UserError as damage:
    return State(FAILED, str(damage))
  attempt = _attempt(directory)
  if workdirs.is_locked(directory):
    return State(RUNNING, f'on {attempt["host"]} since {attempt["begun"]}' if attempt else '')
  said = _last_line(log(run, workdir))
  if said and _numbered(workdir).get(run.index) != run.stage.id:
    said = ''  # by a stage that had this number in another config
  if attempt is None and said:  # it did not get as far as to claim its stage, or not yet
    return State(PENDING if _WAITS.search(said) else FAILED, said)
  if attempt is None or attempt['code'] == 0:  # 0: done, and since then asked for more
    return State(PENDING)
  if attempt['code'] in STOPPED:
    return State(PENDING, attempt['line'])
  last = attempt['line'] or said
  code = 'killed' if attempt['code'] is None else f'exit code {attempt["code"]}'
  return State(FAILED, f'{code}: {last}' if last else code)


def begin(directory: Path) -> None:
  """Notes that a run begins; until `end` says how it ended it counts as killed."""
  begun = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
  _note(directory, {'host': socket.gethostname(), 'pid': os.getpid(), 'begun': begun})


def end(directory: Path, code: int, line: str) -> None:
  """Notes how a run ended, where it can still say so."""
  _note(directory, (_attempt(directory) or {}) | {'code': code, 'line': ' '.join(line.split())})


def _note(directory: Path, fields: dict) -> None:
  empty = {'host': '', 'pid': 0, 'begun': '', 'code': None, 'line': ''}
  workdirs.write_atomic(directory / _ATTEMPT, json.dumps(empty | fields) + '\n')


def _attempt(directory: Path) -> dict | None:
  """The note on the last run; None where there is none, or a damaged one: nothing hangs on it."""
  path = directory / _ATTEMPT
  if not path.exists():
    return None
  with contextlib.suppress(UserError):
    note = cache.parse(path, path.read_bytes(), host=str, begun=str, line=str)
    return note if 'code' in note else None
  return None


def _last_line(path: Path) -> str:
  """The last line with something in it; '' if there is none."""
  try:
    with open(path, 'rb') as file:
      file.seek(max(0, path.stat().st_size - 4096))
      lines = file.read().decode(errors='replace').replace('\r', '\n').split('\n')
  except FileNotFoundError:
    return ''
  return next((line.strip() for line in reversed(lines) if line.strip()), '')


def chosen(study: StudyConfig, index: int) -> Run:
  """The run of this number.

  Raises:
    UserError: there is none.
  """
  found = expand(study)
  if not 0 <= index < len(found):
    raise UserError(f'--run = {index}: must be 0 to {len(found) - 1}, a line of {RUNS}')
  return found[index]
