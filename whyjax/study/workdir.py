"""The directory of a study: checked, marked, and held by one process at a time."""

from collections.abc import Iterator
import contextlib
import datetime
import fcntl
import json
import os
from pathlib import Path
import socket
import time
from typing import IO

from whyjax.errors import UserError

SCHEMA = 1
MARKER = 'whyjax.json'
LOCK = 'lock'


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
def hold(path: Path, study: str, *, shared: bool = False) -> Iterator[None]:
  """Makes or reopens the workdir of a study and keeps others out until the end: all, or with
  `shared` those that want it for themselves.

  Raises:
    UserError: as `check`, or the directory cannot be written, or another process holds it.
  """
  check(path, study)
  with lock(path, f'workdir {path}', shared=shared):
    if not (path / MARKER).exists():
      write_atomic(path / MARKER, json.dumps({'schema': SCHEMA, 'study': study}) + '\n')
    yield


@contextlib.contextmanager
def lock(path: Path, what: str, *, shared: bool = False) -> Iterator[None]:
  """Holds the lock of a directory, which is made if it is not there.

  The kernel drops a flock with its holder, however it dies, so no stale lock can remain.

  Args:
    what: the directory, in the words of an error.
    shared: others may hold it as well, if they share too.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644), 'r+')
  except OSError as error:
    raise UserError(f'{what}: cannot be written ({error.strerror}); give another') from error
  with file:
    if not _taken(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
      holder = file.read().strip() or 'another process'
      raise UserError(f'{what}: in use by {holder}; wait for it or give another --workdir')
    since = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()} since {since}\n')
    file.flush()
    yield


def is_locked(path: Path) -> bool:
  """Whether some process holds the lock of a directory."""
  if not (path / LOCK).exists():
    return False
  with open(path / LOCK) as file:
    return not _taken(file, fcntl.LOCK_SH, seconds=0)


def _taken(file: IO[str], how: int, seconds: float = 1) -> bool:
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


def write_atomic(path: Path, text: str) -> None:
  """Writes a whole file or none: a reader, or a run after a crash, never sees a part of it."""
  draft = path.with_name(f'{path.name}.{socket.gethostname()}-{os.getpid()}.tmp')
  with open(draft, 'w') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(draft, path)


def _read_marker(path: Path) -> dict:
  try:
    mark = json.loads((path / MARKER).read_text())
  except (ValueError, OSError) as error:
    raise UserError(f'workdir {path}: {MARKER} is damaged; give another --workdir') from error
  if not isinstance(mark, dict):
    raise UserError(f'workdir {path}: {MARKER} is damaged; give another --workdir')
  return mark
