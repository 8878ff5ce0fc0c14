"""Resampling of misaligned shares: worlds first, then seeds in a world, then items of a cell.

Worlds, and seeds within a world, get exponential weights (the Bayesian bootstrap of Rubin 1981, the
smooth form of drawing with replacement: no resample is of one world alone). The same draw of a
world and seed serves every arm, dose and size, so that what is compared is compared in the same
worlds. Items are redrawn from each cell's own rate.

Weights of few worlds vary too little, and a percentile knows nothing of degrees of freedom:
intervals are stretched by sqrt((W + 1) / (W - 1)) for the one and Student's t for the other.
"""

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np

from whyjax.scaling.cells import Cell
from whyjax.scaling.estimate import student
from whyjax.scaling.settings import Settings


@dataclasses.dataclass(frozen=True)
class Draws:
  """Weights of replicas in every resample.

  Attributes:
    worlds: ascending.
    weights: by (world, seed), [resamples].
    stretch: of intervals.
    seed: of what is drawn within cells.
  """

  worlds: tuple[int, ...]
  weights: Mapping[tuple[int, int], np.ndarray]
  stretch: float
  seed: int


def draws(cells: Sequence[Cell], settings: Settings) -> Draws:
  """Weights for all replicas of these cells, of two worlds or more."""
  rng = np.random.default_rng(settings.seed)
  worlds = sorted({c.world for c in cells})
  weights = {}
  for world in worlds:
    seeds = sorted({c.seed for c in cells if c.world == world})
    of_world = rng.exponential(size=settings.resamples)
    of_seed = rng.exponential(size=(len(seeds), settings.resamples))
    of_seed *= len(seeds) / of_seed.sum(axis=0)
    for seed, own in zip(seeds, of_seed, strict=True):
      weights[world, seed] = of_world * own
  count = len(worlds)
  stretch = student(count - 1, settings.confidence) * np.sqrt((count + 1) / (count - 1))
  return Draws(tuple(worlds), weights, float(stretch), settings.seed)


def resampled(
  cells: Sequence[Cell], effective: np.ndarray, drawn: Draws, key: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
  """(rate [1 + resamples], weight [1 + resamples]) of cells taken together; the first is of the
  cells as they are.

  Args:
    effective: [cells], what each counts.
    key: names the cells: equal keys redraw equal items.
  """
  rng = np.random.default_rng([drawn.seed, *key])
  rates = np.array([c.rate for c in cells])
  items = np.array([c.items for c in cells])
  weights = np.array([drawn.weights[c.replica] for c in cells]) * effective[:, None]
  redrawn = rng.binomial(items[:, None], rates[:, None], weights.shape) / items[:, None]
  total = weights.sum(axis=0)
  rate = (weights * redrawn).sum(axis=0) / total
  as_is = float(np.average(rates, weights=effective))
  return np.append(as_is, rate), np.append(effective.sum(), total)


def effective_items(groups: Sequence[Sequence[Cell]]) -> list[np.ndarray]:
  """[cells] of each group: the items that count, n / (1 + (n - 1) rho).

  Worlds differ by more than their items' coin flips: with the intra-world correlation rho the
  variance of a rate is p (1 - p) (1 + (n - 1) rho) / n (Williams 1982, "Extra-binomial variation in
  logistic linear models", model II). rho is of all groups together, by moments. Where it is large,
  every world counts about the same, however many items it was asked.
  """
  over, scale = 0.0, 0.0
  for group in groups:
    rates, items = np.array([[c.rate, c.items] for c in group]).T
    if len(group) > 1:
      mean = np.average(rates, weights=items)
      binomial = np.mean(mean * (1 - mean) / items)
      over += (rates.var(ddof=1) - binomial) * (len(group) - 1)
      scale += (mean * (1 - mean) - binomial) * (len(group) - 1)
  rho = float(np.clip(over / scale, 0, 1)) if scale > 0 else 0.0
  return [np.array([c.items / (1 + (c.items - 1) * rho) for c in group]) for group in groups]
