"""The directory of a study: checked, marked, and held by one process at a time."""

from collections.abc import Iterator
import contextlib
import datetime
import fcntl
import json
import os
from pathlib import Path
import socket

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
def hold(path: Path, study: str) -> Iterator[None]:
  """Makes or reopens the workdir of a study and keeps every other process out until the end.

  The kernel drops a flock with its holder, however it dies, so no stale lock can remain.

  Raises:
    UserError: as `check`, or the directory cannot be written, or another process holds it.
  """
  check(path, study)
  try:
    path.mkdir(parents=True, exist_ok=True)
    lock = os.fdopen(os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644), 'r+')
  except OSError as error:
    raise UserError(
      f'workdir {path}: cannot be written ({error.strerror}); give another'
    ) from error
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      holder = lock.read().strip() or 'another process'
      raise UserError(
        f'workdir {path}: in use by {holder}; wait for it or give another --workdir'
      ) from error
    since = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {socket.gethostname()} since {since}\n')
    lock.flush()
    if not (path / MARKER).exists():
      write_atomic(path / MARKER, json.dumps({'schema': SCHEMA, 'study': study}) + '\n')
    yield


def write_atomic(path: Path, text: str) -> None:
  """Writes a whole file or none: a reader, or a run after a crash, never sees a part of it."""
  draft = path.with_name(path.name + '.tmp')
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
