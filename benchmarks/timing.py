"""Ratios that hold on a machine with neighbours: what is compared takes turns, and medians are of
rounds, not of sums."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import statistics
import time

import jax
import numpy as np

from whyjax.config import DeviceConfig, ModelConfig, StageConfig
from whyjax.corpus.packing import WHOLE, Part
from whyjax.training import mesh as meshes
from whyjax.training import step
from whyjax.training.step import Program


@dataclasses.dataclass(frozen=True)
class Spread:
  """Minimum, median and maximum over rounds."""

  low: float
  median: float
  high: float

  @classmethod
  def of(cls, values: Sequence[float]) -> 'Spread':
    """Of values, one a round."""
    return cls(min(values), statistics.median(values), max(values))

  def __str__(self) -> str:
    values = (self.low, self.median, self.high)
    return ' / '.join(f'{x:,.0f}' if abs(x) >= 1000 else f'{x:.3g}' for x in values)


def by_turns(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
  """Seconds of each work in each round; once before, unmeasured, to load programs. The order is
  another in each round, or what a work leaves behind would always meet the same one."""
  seconds: dict[str, list[float]] = {name: [] for name in works}
  rng = np.random.default_rng(0)
  for turn in range(rounds + 1):
    for name in rng.permutation(list(works)).tolist():
      begun = time.perf_counter()
      works[name]()
      if turn:
        seconds[name].append(time.perf_counter() - begun)
  return seconds


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
  """Of two lists of seconds, round by round."""
  return Spread.of([a / b for a, b in zip(over, under, strict=True)])


@dataclasses.dataclass(frozen=True)
class RandomText:
  """Batches of random tokens in rows of several segments, for training that nobody reads."""

  replicas: int
  rows: int
  row_length: int
  vocabulary: int
  hash: str = 'random'

  def batch(self, number: int, part: Part = WHOLE) -> dict[str, np.ndarray]:
    """As `whyjax.training.loop.Data` says."""
    rng = np.random.default_rng(number)
    shape = (self.replicas, self.rows, self.row_length)
    segments = np.sort(rng.integers(1, 5, shape), axis=-1).astype(np.int32)
    begins = np.diff(segments, axis=-1, prepend=0) > 0
    places = np.broadcast_to(np.arange(self.row_length), shape)
    batch = {
      'tokens': rng.integers(0, self.vocabulary, shape).astype(np.int32),
      'segments': segments,
      'positions': places - np.maximum.accumulate(places * begins, axis=-1).astype(np.int32),
      'weights': np.ones(shape, np.float32),
    }
    return {name: x[part] for name, x in batch.items()}


class Training:
  """Training of R replicas on random text, so many updates a call."""

  def __init__(
    self,
    model: ModelConfig,
    stage: StageConfig,
    device: DeviceConfig,
    replicas: int,
    row_length: int,
    vocabulary: int,
    updates: int = 0,
  ):
    """`updates` of a call; 0 = those of one dispatch."""
    mesh = meshes.make_mesh(device, replicas, stage.batch_rows // stage.accumulation)
    shape = (model, vocabulary, stage, device, mesh, replicas, row_length)
    self.program: Program = step.make_program(*shape)
    self._run = self.program.compiled  # now, while rivals get ready
    self.mesh = mesh
    steps = device.steps_per_dispatch
    updates = updates or steps
    self.tokens = updates * replicas * stage.batch_rows * row_length  # of a call
    self._dispatches = [min(steps, updates - done) for done in range(0, updates, steps)]
    text = RandomText(replicas, stage.batch_rows, row_length, vocabulary)
    batches = [text.batch(number) for number in range(steps)]
    self._stack = {
      name: jax.device_put(np.stack([b[name] for b in batches], axis=1), x.sharding)
      for name, x in self.program.batch.items()
    }
    params = self.program.init_params(jax.vmap(jax.random.key)(np.arange(replicas)))
    self._state = params, self.program.init_optimizer(params)

  def __call__(self) -> None:
    for steps in self._dispatches:
      self._state, metrics = self._run(self._state, self._stack, np.int32(steps))
      jax.block_until_ready((self._state, metrics))
