"""The directory of a study: checked, marked, and held by one process at a time."""

from collections.abc import Iterator
import contextlib
import datetime
import errno
import fcntl
import json
import os
from pathlib import Path
import re
import socket
import time
from typing import IO

from whyjax.errors import UserError
from whyjax.training import processes

SCHEMA = 1
MARKER = 'whyjax.json'
LOCK = 'lock'
PATIENCE = 1.0  # seconds: who only asks for the state of a lock has it for a moment


def check(path: Path, study: str) -> None:
  """Accepts a directory that is absent, empty, or of this study; touches nothing.

  Raises:
    UserError: the path is a file, or the directory belongs to something else.
  """
  if path.exists() and not path.is_dir():
    raise UserError(f'workdir {path}: is a file; must be a directory')
  if (path / MARKER).is_file():
    mark = _read_marker(path)
    if mark.get('schema') != SCHEMA:
      raise UserError(
        f'workdir {path}: schema {mark.get("schema")!r}; this version reads schema {SCHEMA}'
      )
    if mark.get('study') != study:
      raise UserError(
        f'workdir {path}: belongs to study {mark.get("study")!r}; must be of {study!r}, or new'
      )
  elif path.is_dir():
    # A process killed while it opened a new workdir leaves no more than these.
    strangers = sorted(p.name for p in path.iterdir() if not p.name.startswith((LOCK, MARKER)))
    if strangers:
      raise UserError(
        f'workdir {path}: is no workdir but holds {strangers[0]!r}; must be new or empty'
      )


@contextlib.contextmanager
def hold(
  path: Path, study: str, *, shared: bool = False, patience: float = PATIENCE
) -> Iterator[None]:
  """Makes or reopens the workdir of a study and keeps others out until the end: all, or with
  `shared` those that want it for themselves. Who holds it alone takes away what was left half
  written.

  Args:
    patience: seconds to wait for others who hold it.

  Raises:
    UserError: as `check`, or the directory cannot be written, or another process holds it.
  """
  check(path, study)
  with lock(path, f'workdir {path}', shared=shared, patience=patience):
    if not shared:
      for stage in path.glob('stages/*'):
        _clear(stage)
    if not (path / MARKER).exists():
      write_atomic(path / MARKER, json.dumps({'schema': SCHEMA, 'study': study}) + '\n')
    yield


@contextlib.contextmanager
def hold_for_all(
  path: Path, study: str, *, shared: bool = False, patience: float = PATIENCE
) -> Iterator[None]:
  """`hold` by the first of several processes for all of them.

  Raises:
    UserError: as `hold`, or one of them does not see the directory.
  """
  with contextlib.ExitStack() as held:
    mine = hold(path, study, shared=shared, patience=patience)
    processes.first_does(lambda: held.enter_context(mine))
    if not processes.everywhere((path / MARKER).exists()):
      raise UserError(
        f'workdir {path}: some process does not see it; must be on a disk that all share'
      )
    yield


@contextlib.contextmanager
def lock(
  path: Path, what: str, *, shared: bool = False, patience: float = PATIENCE
) -> Iterator[None]:
  """Holds the lock of a directory, which is made if it is not there.

  The kernel drops a flock with its holder, however it dies, so no stale lock can remain. Drafts of
  `write_atomic` can: who holds the lock alone takes them away.

  Args:
    what: the directory, in the words of an error.
    shared: others may hold it as well, if they share too.
    patience: seconds to wait for others who hold it.

  Raises:
    UserError: the directory cannot be written, or another process holds it.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644), 'r+')
    if not os.access(path, os.W_OK | os.X_OK):  # a lock that is there can be opened all the same
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
  except OSError as error:
    raise UserError(f'{what}: cannot be written ({error.strerror}); give another') from error
  with file:
    if not _taken(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, patience):
      holder = _holder(file.read())
      raise UserError(f'{what}: in use by {holder}; wait for it or give another --workdir')
    since = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    if not shared:
      file.truncate(0)
    # Those that share it have a line each; one write at the end of a file is not torn.
    line = f'process {os.getpid()} on {socket.gethostname()} since {since}\n'
    with open(path / LOCK, 'ab', buffering=0) as names:
      names.write(line.encode())
    if not shared:
      _clear(path)
    yield


def _holder(names: str) -> str:
  """Of those that have put their names down, the last that may still be there."""
  for line in reversed(names.splitlines()):
    match = re.fullmatch(r'process (\d+) on (\S+) since \S+', line)
    if match and match[2] == socket.gethostname() and not _lives(int(match[1])):
      continue
    return line
  return 'another process'


def _lives(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass  # somebody else's
  return True


def is_locked(path: Path) -> bool:
  """Whether some process holds the lock of a directory."""
  if not (path / LOCK).exists():
    return False
  with open(path / LOCK) as file:
    return not _taken(file, fcntl.LOCK_SH, seconds=0)


def _taken(file: IO[str], how: int, seconds: float) -> bool:
  """Whether a lock could be had: who only asks for its state has it for a moment."""
  end = time.monotonic() + seconds
  while True:
    try:
      fcntl.flock(file, how | fcntl.LOCK_NB)
      return True
    except BlockingIOError:
      if time.monotonic() > end:
        return False
      time.sleep(0.05)


def draft(path: Path) -> Path:
  """The name under which this process writes a file of a workdir until it is whole; should it be
  killed, the next one that holds the workdir takes the draft away."""
  return path.with_name(f'{path.name}.{socket.gethostname()}-{os.getpid()}.tmp')


def write_atomic(path: Path, text: str) -> None:
  """Writes a whole file or none: a reader, or a run after a crash, never sees a part of it."""
  part = draft(path)
  try:
    with open(part, 'w') as file:
      file.write(text)
      file.flush()
      os.fsync(file.fileno())
    os.replace(part, path)
  except BaseException:
    part.unlink(missing_ok=True)  # on a full disk it would take the room of what comes next
    raise


def _clear(directory: Path) -> None:
  """Takes away the drafts that a killed process left; nobody else may be writing there."""
  for part in directory.glob('*-[0-9]*.tmp'):
    part.unlink(missing_ok=True)


def _read_marker(path: Path) -> dict:
  try:
    mark = json.loads((path / MARKER).read_text())
  except (ValueError, OSError) as error:
    raise UserError(f'workdir {path}: {MARKER} is damaged; give another --workdir') from error
  if not isinstance(mark, dict):
    raise UserError(f'workdir {path}: {MARKER} is damaged; give another --workdir')
  return mark
