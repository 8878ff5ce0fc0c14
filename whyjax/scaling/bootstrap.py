"""Resampling of misaligned shares: over worlds, and below them over seeds and items.

Worlds are redrawn whole: what their seeds and items add to a rate is in the scatter of worlds
already, and redrawing those too counts it twice (Davison and Hinkley 1997, section 3.8; in
simulated studies of four worlds it made intervals half as wide again, which then held the truth in
99%). But a few worlds may agree by chance, and all do at a rate of 0. So seeds and items are
redrawn by themselves as well, worlds as they are, and each end of an interval is the farther of the
two.

Worlds, and seeds, get exponential weights (the Bayesian bootstrap of Rubin 1981, the smooth form of
drawing with replacement: no resample is of one world alone). The same draw of a world serves every
arm, dose and size, so that what is compared is compared in the same worlds. Weights of few worlds
vary too little, and a percentile knows nothing of degrees of freedom: the intervals over worlds are
stretched by sqrt((W + 1) / (W - 1)) for the one, and as Student's t asks for the other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
import statistics
from zlib import crc32

import numpy as np

from whyjax.scaling import complete
from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import Estimate, few_worlds, of_samples
from whyjax.scaling.settings import Settings


@dataclasses.dataclass(frozen=True)
class Draws:
  """What all rates of a table are resampled by.

  Attributes:
    worlds: ascending.
    over_worlds: weights by (world, seed), [resamples].
    below: the same where worlds are as they are, and their seeds drawn.
    stretch: of intervals over worlds.
    settings: confidence, seed.
  """

  worlds: tuple[int, ...]
  over_worlds: Mapping[tuple[int, int], np.ndarray]
  below: Mapping[tuple[int, int], np.ndarray]
  stretch: float
  settings: Settings

  def among(self, worlds: int) -> 'Draws':
    """The same, for what so many worlds say and no more."""
    return dataclasses.replace(self, stretch=few_worlds(worlds, self.settings.confidence))

  def interval(self, samples: np.ndarray) -> Estimate:
    """The estimate of samples as `rates` orders them: as is, over worlds, below worlds."""
    count, confidence = self.settings.resamples, self.settings.confidence
    wide = of_samples(samples[0], samples[1 : count + 1], confidence, self.stretch)
    below = of_samples(samples[0], samples[count + 1 :], confidence)
    return Estimate(wide.value, min(wide.low, below.low), max(wide.high, below.high))


def draws(cells: Sequence[Cell], settings: Settings) -> Draws:
  """Weights for all replicas of these cells, of two worlds or more."""
  rng = np.random.default_rng(settings.seed)
  worlds = sorted({c.world for c in cells})
  over, below = {}, {}
  for world in worlds:
    seeds = sorted({c.seed for c in cells if c.world == world})
    of_world = rng.exponential(size=settings.resamples)
    of_seed = rng.exponential(size=(len(seeds), settings.resamples))
    of_seed *= len(seeds) / of_seed.sum(axis=0)
    for seed, own in zip(seeds, of_seed, strict=True):
      over[world, seed], below[world, seed] = of_world, own
  stretch = few_worlds(len(worlds), settings.confidence)
  return Draws(tuple(worlds), over, below, stretch, settings)


def rates(
  cells: Sequence[Cell], effective: np.ndarray, drawn: Draws
) -> tuple[np.ndarray, np.ndarray]:
  """([1 + 2 resamples] rate, weight of the same shape) of an arm at a dose: as they are, over
  worlds, below worlds.

  Args:
    effective: [cells], what each counts.
  """
  dose = int(complete.tokens(cells))
  arm = crc32(cells[0].arm.encode()) * bool(dose)  # a dose of 0 is the same items for every arm
  rng = np.random.default_rng([drawn.settings.seed, *cells[0].place, arm, dose])
  own = np.array([c.rate for c in cells])[:, None]
  items = np.array([c.items for c in cells])[:, None]
  weights = [
    np.array([by_replica[c.replica] for c in cells]) * effective[:, None]
    for by_replica in (drawn.over_worlds, drawn.below)
  ]
  # Jeffreys' posterior: a rate of 0 in a hundred items may be one of .01.
  redrawn = rng.beta(own * items + 0.5, (1 - own) * items + 0.5, weights[1].shape)
  weights = np.concatenate([effective[:, None], *weights], axis=1)
  each = np.concatenate([own, np.broadcast_to(own, redrawn.shape), redrawn], axis=1)
  total = weights.sum(axis=0)
  return (weights * each).sum(axis=0) / total, total


def effective_items(groups: Sequence[Sequence[Cell]]) -> list[np.ndarray]:
  """[cells] of each group: the items that count, n / (1 + (n - 1) rho).

  Worlds differ by more than their items' coin flips: with the intra-world correlation rho the
  variance of a rate is p (1 - p) (1 + (n - 1) rho) / n (Williams 1982, "Extra-binomial variation in
  logistic linear models", model II). rho is of all groups together, by moments. What is asked
  about is the mean over worlds: so all of a group count the same, the harmonic mean of what each
  would by itself, as the variance of their mean is. The seeds of a world share what it counts.
  """
  over, scale = 0.0, 0.0
  for group in groups:
    own, items = np.array([[c.rate, c.items] for c in group]).T
    if len(group) > 1:
      mean = own.mean()
      binomial = np.mean(mean * (1 - mean) / items)
      over += (own.var(ddof=1) - binomial) * (len(group) - 1)
      scale += (mean * (1 - mean) - binomial) * (len(group) - 1)
  rho = float(np.clip(over / scale, 0, 1)) if scale > 0 else 0.0
  found = []
  for group in groups:
    seeds = Counter(c.world for c in group)
    by_world = dict.fromkeys(seeds, 0.0)
    for c in group:
      by_world[c.world] += c.items / (1 + (c.items - 1) * rho) / seeds[c.world]
    each = statistics.harmonic_mean(list(by_world.values()))
    found.append(np.array([each / seeds[c.world] for c in group]))
  return found
