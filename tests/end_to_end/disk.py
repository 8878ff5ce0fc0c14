"""A small disk that a test may fill: a tmpfs in a mount namespace of its own, so that nothing of it
is left on the machine, however the test ends."""

import contextlib
import os
from pathlib import Path
import subprocess

from tests.end_to_end import programs

_MOUNT = 'mount -t tmpfs -o size={size} none "$0" && echo ready && exec sleep infinity'


class Disk:
  """The disk, mounted on `path` for the processes that `start` starts.

  Raises:
    OSError: this machine lets nobody make one (it needs Linux's user namespaces).
  """

  def __init__(self, path: Path, size: str):
    path.mkdir(parents=True)
    self.path = path
    script = ['sh', '-c', _MOUNT.format(size=size), str(path)]
    self._holder = subprocess.Popen(
      ['unshare', '--user', '--map-root-user', '--mount', *script],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    if self._holder.stdout.readline() != 'ready\n':
      _, why = self._holder.communicate()
      raise OSError(f'no disk can be made here: {why.strip()}')
    self.seen = Path(f'/proc/{self._holder.pid}/root{path}')  # the same, from outside
    self._ballast = self.seen / 'ballast'

  def __enter__(self) -> 'Disk':
    return self

  def __exit__(self, *_) -> None:
    self._holder.kill()
    self._holder.communicate()

  def start(self, words: list[str]) -> subprocess.Popen:
    """Starts a command that finds the disk at `path`."""
    (started,) = programs.start([*self._enter(), *words])
    return started

  def fill(self, room: int = 0) -> None:
    """Leaves so many bytes free."""
    with open(self._ballast, 'ab', buffering=0) as file, contextlib.suppress(OSError):
      while file.write(bytes(65536)):
        pass
    os.truncate(self._ballast, max(0, self._ballast.stat().st_size - room))

  def empty(self) -> None:
    """Takes away what `fill` wrote."""
    self._ballast.unlink()

  def remount(self, how: str) -> None:
    """Makes it 'ro', that is not to be written, or 'rw' again."""
    subprocess.run(
      [*self._enter(), 'mount', '-o', f'remount,{how}', 'none', str(self.path)], check=True
    )

  def _enter(self) -> list[str]:
    words = ['nsenter', f'--target={self._holder.pid}', '--user', '--mount']
    return [*words, '--preserve-credentials', f'--wd={programs.ROOT}', '--']
