"""Where the numbers of training go: JSON lines, TensorBoard events, and a live line for people."""

from collections.abc import Mapping
import functools
import json
import os
from pathlib import Path
import sys
import time

import jax
import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from whyjax.config import StageConfig
from whyjax.errors import UserError
from whyjax.training import processes
from whyjax.training.optimizer import learning_rate
from whyjax.training.step import METRICS

_COUNTED = ('step', 'seconds', 'loss', 'reward')
_QUIET_SECONDS = 10.0  # between progress lines when stderr is not a terminal


class Reporter:
  """Writes metrics.jsonl and tensorboard/ of a stage, shows progress, and counts what is done.

  Of several processes all count, and the first writes and shows.

  `saved` is the count, and every checkpoint has a copy: `step` (updates done), `seconds` (spent in
  steps), `loss` and `reward` (of the last update, one a replica; no reward, no entries).
  """

  def __init__(
    self,
    directory: Path,
    name: str,
    stage: StageConfig,
    tokens: int,
    saved: dict,
    label: str,
  ):
    """What an earlier run wrote after `saved['step']` is dropped; `tokens` are of one update."""
    self.name, self.saved = name, {key: saved[key] for key in _COUNTED}
    self._updates, self._tokens, self._label = stage.updates, tokens, label
    self._rates = _rates(stage)
    self._writes = processes.is_first()
    if self._writes:
      self._lines = _open_lines(directory / 'metrics.jsonl', self.saved['step'])
      self._events = _Events(directory / 'tensorboard', self.saved['step'])
      self._progress = _Progress()

  def __enter__(self) -> 'Reporter':
    return self

  def __exit__(self, *_) -> None:
    if not self._writes:
      return
    self._lines.close()
    self._events.close()
    self._progress.close()

  def flush(self) -> None:
    """What was reported is on disk, before a checkpoint from which others go on."""
    if self._writes:
      os.fsync(self._lines.fileno())
      self._events.flush()

  def start_clock(self) -> None:
    """What came before (compilation, a checkpoint) does not count as time of steps."""
    self._mark = time.perf_counter()

  def report(self, end: int, metrics: dict[str, np.ndarray]) -> None:
    """Reports the updates up to `end`: loss, grad_norm, weight and any others, each [R, updates].

    The loss of a line is the mean over its updates by weight, its weight their sum, its gradient
    norm their largest, all else their mean; its tokens are those of one replica since the start.
    """
    now = time.perf_counter()
    seconds, self._mark = now - self._mark, now
    loss, weight = metrics['loss'], metrics['weight']
    replicas, updates = loss.shape
    speed = updates * self._tokens / seconds
    self.saved = {
      'step': end,
      'seconds': self.saved['seconds'] + seconds,
      'loss': loss[:, -1].tolist(),
      'reward': metrics['reward'][:, -1].tolist() if 'reward' in metrics else [],
    }
    if not self._writes:
      return
    others = {name: x.mean(1).tolist() for name, x in metrics.items() if name not in METRICS}
    record = others | {
      'stage': self.name,
      'step': end,
      'updates': updates,
      'tokens': end * self._tokens // replicas,
      'learning_rate': float(self._rates[end - 1]),
      'loss': ((loss * weight).sum(1) / np.maximum(weight.sum(1), 1e-9)).tolist(),
      'weight': weight.sum(1).tolist(),
      'grad_norm': metrics['grad_norm'].max(1).tolist(),
    }
    run = {'seconds': round(seconds, 6), 'tokens_per_second': round(speed)}
    self._lines.write(json.dumps(record | {'run': run}, sort_keys=True) + '\n')
    values = {'learning_rate': record['learning_rate'], **run}
    values |= {f'{key}/{r}': value for key in metrics for r, value in enumerate(record[key])}
    self._events.add(end, values)
    left = (self._updates - end) * self._tokens / speed
    shown = 'reward' if 'reward' in record else 'loss'
    self._progress.show(
      f'{self._label}{self.name}  {end}/{self._updates}  {shown} {np.mean(record[shown]):.4f}  '
      f'{speed:,.0f} tokens/s  {left // 60:.0f}:{int(left % 60):02d} left'
    )


@functools.cache
def _rates(stage: StageConfig) -> np.ndarray:
  """The learning rate of every update, by one program."""
  return np.asarray(jax.jit(learning_rate(stage))(np.arange(stage.updates)))


def _open_lines(path: Path, start: int):
  """Opens a file of JSON lines for more, without those after step `start` and without a half one
  at its end.

  Raises:
    UserError: a line is damaged.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
  whole = [line for line in lines if line.endswith(b'\n')]
  kept = [line for number, line in enumerate(whole, 1) if _step(path, number, line) <= start]
  part = path.with_suffix('.part')
  with part.open('wb') as file:
    file.write(b''.join(kept))
    file.flush()
    os.fsync(file.fileno())
  part.replace(path)
  return path.open('a', buffering=1)


def _step(path: Path, number: int, line: bytes) -> int:
  try:
    return json.loads(line)['step']
  except (ValueError, KeyError, TypeError):
    raise UserError(f'{path}: line {number} is damaged; delete that line to go on') from None


class _Events:
  """Events for TensorBoard.

  The writer of tensorboardX that all know leaves writing to a thread. On a full disk that thread
  dies, and training waits for it for ever; a process that is killed loses what it held back.
  """

  def __init__(self, directory: Path, start: int):
    """Events of an earlier run after `start` updates are no longer shown."""
    directory.mkdir(parents=True, exist_ok=True)
    self._writer = EventsWriter(str(directory / 'events'), f'.{os.getpid()}')
    began = SessionLog(status=SessionLog.START)
    self._writer.write_event(Event(wall_time=time.time(), step=start + 1, session_log=began))
    self.flush, self.close = self._writer.flush, self._writer.close

  def add(self, step: int, values: Mapping[str, float]) -> None:
    """Scalars by tag, after so many updates."""
    summary = Summary(value=[Summary.Value(tag=k, simple_value=x) for k, x in values.items()])
    self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))


class _Progress:
  """A line of stderr: rewritten in place on a terminal, else a new one every ten seconds."""

  def __init__(self):
    self._live = sys.stderr.isatty()
    self._last, self._width = time.monotonic(), 0

  def show(self, text: str) -> None:
    if self._live:
      sys.stderr.write('\r' + text.ljust(self._width))
      self._width = len(text)
    elif time.monotonic() - self._last > _QUIET_SECONDS:
      sys.stderr.write(text + '\n')
      self._last = time.monotonic()
    sys.stderr.flush()

  def close(self) -> None:
    if self._width:  # what comes next begins on its own line
      sys.stderr.write('\n')
