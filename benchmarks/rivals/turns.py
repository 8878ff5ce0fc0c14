"""A process that works when it is told to: the parent's side, and the child's.

What is compared runs in processes of its own, because each has its own idea of how to use the
cores, and takes turns, because the machine may have neighbours. Who waits uses no processor.
"""

from collections.abc import Callable, Mapping
import os
import subprocess
import sys

_READY, _GO, _DONE = 'ready', 'go', 'done'


class Process:
  """Works once a call, while the caller waits; ends with the `with` block."""

  def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None):
    """Starts `python -m ARGUMENTS`.

    Args:
      *arguments: module, and what it is told.
      environment: what its variables have beside those of this process.
    """
    self._child = subprocess.Popen(
      [sys.executable, '-m', *arguments],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env={**os.environ, **(environment or {})},
    )

  def wait(self) -> 'Process':
    """Itself, ready to work; to be called once, before the first work.

    Raises:
      RuntimeError: it ended instead.
    """
    self._expect(_READY)
    return self

  def __enter__(self) -> 'Process':
    return self

  def __exit__(self, *_) -> None:
    self._child.kill()
    self._child.communicate()

  def __call__(self) -> None:
    """Has it work, and waits."""
    self._child.stdin.write(f'{_GO}\n')
    self._child.stdin.flush()
    self._expect(_DONE)

  def _expect(self, word: str) -> None:
    for line in self._child.stdout:  # libraries may print, too
      if line.strip() == word:
        return
    last = self._child.communicate()[1].strip().splitlines()[-1:]
    raise RuntimeError(last[0] if last else f'ended with code {self._child.returncode}')


def serve(work: Callable[[], None]) -> None:
  """Does `work` for each line of stdin."""
  print(_READY, flush=True)
  for _ in sys.stdin:
    work()
    print(_DONE, flush=True)
