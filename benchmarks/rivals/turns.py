"""A process that works when it is told to: the parent's side, and the child's.

What is compared runs in processes of its own, because each has its own idea of how to use the
cores, and takes turns, because the machine may have neighbours. Who waits uses no processor.
"""

from collections.abc import Callable, Mapping
import contextlib
import os
import subprocess
import sys

_READY, _GO, _DONE = 'ready', 'go', 'done'


class Process:
  """Works once a call, while the caller waits; ends with the `with` block."""

  def __init__(self, *command: str, environment: Mapping[str, str] | None = None):
    """Starts `python -m COMMAND`.

    Args:
      *command: module, which calls `serve`, and its arguments.
      environment: what its variables have beside those of this process.
    """
    self._child = subprocess.Popen(
      [sys.executable, '-m', *command],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env={**os.environ, **(environment or {})},
    )

  def prepare(self, what: str) -> None:
    """Has it get ready for some work, a line of text, while the caller goes on."""
    with contextlib.suppress(BrokenPipeError):  # it has ended, which `wait` tells
      self._tell(what)

  def wait(self) -> 'Process':
    """Itself, ready for the work that it was to prepare; to be called once for each.

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
    self._tell(_GO)
    self._expect(_DONE)

  def _tell(self, line: str) -> None:
    self._child.stdin.write(f'{line}\n')
    self._child.stdin.flush()

  def _expect(self, word: str) -> None:
    for line in self._child.stdout:  # libraries may print, too
      if line.strip() == word:
        return
    last = self._child.communicate()[1].strip().splitlines()[-1:]
    raise RuntimeError(last[0] if last else f'ended with code {self._child.returncode}')


def serve(prepare: Callable[[str], Callable[[], None]]) -> None:
  """Prepares the work that a line of stdin is about, and does it as often as it is told."""
  work: Callable[[], None] | None = None
  for line in sys.stdin:
    if line.strip() == _GO:
      work()
      print(_DONE, flush=True)
    else:
      work = None  # so that there is never memory for two
      work = prepare(line)
      work()  # compiles, while the parent and others do
      print(_READY, flush=True)
