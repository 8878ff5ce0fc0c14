"""SIGTERM and Ctrl-C mean: save, then stop."""

import signal

from whyjax.training import processes


class Preempted(Exception):
  """The process was asked to end, and has saved its state: the same command goes on from there."""

  def __init__(self, message: str, number: int):
    super().__init__(message)
    self.exit_code = 128 + number  # 143 for SIGTERM, 130 for Ctrl-C


def check(what: str) -> None:
  """Outside of training: ends all of several processes if one was asked to end; each must call it
  equally often. (On its own a process ends there as soon as it is asked.)

  Args:
    what: is interrupted, for people.

  Raises:
    Preempted: one was asked.
  """
  if number := processes.STOP.poll():
    raise Preempted(f'stopped {what}', number)


class Interrupt:
  """Notes SIGTERM and SIGINT in its context. Main thread only.

  Among several processes JAX notes SIGTERM, and all must learn of it at the same `poll`.

  A second Ctrl-C acts as ever, for an impatient person; a second SIGTERM is only noted, because
  schedulers send it to a job's shell and to its children, and the save is under way.
  """

  number: int | None = None  # of the signal that has come

  def __enter__(self) -> 'Interrupt':
    noted = () if processes.several() else (signal.SIGTERM, signal.SIGINT)
    self._previous = {s: signal.signal(s, self._note) for s in noted}
    return self

  def poll(self) -> int | None:
    """The signal that has come; every process must ask equally often."""
    self.number = self.number or processes.STOP.poll()
    return self.number

  def __exit__(self, *_) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _note(self, number: int, _) -> None:
    self.number = number
    if number == signal.SIGINT:
      signal.signal(number, self._previous[number])
