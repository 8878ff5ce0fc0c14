"""Ends a process whose steps have stopped coming, so that a queue can start it again."""

import threading
import time

from whyjax.training import processes


class Watchdog:
  """Ends the process with exit code 75 when nothing is `seen` for `seconds`; 0 = never.

  What hangs, hangs inside a call of the runtime, where no exception reaches: so a thread watches,
  and ends the process at once. Checkpoints are whole whenever that happens.
  """

  def __init__(self, seconds: float, name: str):
    """`name` is that of the stage, for people."""
    self._seconds, self._name = seconds, name
    self._last: float | None = None  # None: at rest
    self._over = threading.Event()

  def __enter__(self) -> 'Watchdog':
    if self._seconds:
      threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *_) -> None:
    self._over.set()

  def seen(self) -> None:
    """Steps are under way, or have just come."""
    self._last = time.monotonic()

  def rest(self) -> None:
    """Until the next `seen` no steps are expected: a checkpoint is written, a program compiled."""
    self._last = None

  def _watch(self) -> None:
    while not self._over.wait(min(1.0, self._seconds / 4)):
      last = self._last
      if last is not None and time.monotonic() - last > self._seconds:
        processes.leave(
          f'{self._name}: no step for {self._seconds:g} s (config.device.step_timeout); the same '
          'command goes on from the last checkpoint',
          processes.STUCK,
        )
